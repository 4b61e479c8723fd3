"""The compiler from a checked spec to a plan: the steps, their digests, and no needless work."""

from collections.abc import Mapping
from typing import Any

from ddspec.dsl.digest import digest
from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import DatasetFacts, prepared, view_of
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.facts.network_sizes import FittedNetwork
from ddspec.dsl.plan.estimate import StepWork
from ddspec.dsl.plan.evaluation_steps import EvaluationSteps
from ddspec.dsl.plan.routes import Routes
from ddspec.dsl.plan.step_maker import (
    StepMaker,
    imported_preimage,
    non_default_keys,
    preimage_of,
    route_fields,
)
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertMember,
    ExpertRecipe,
    ExpertsStep,
    InitialiseStep,
    Member,
    PathStep,
    Plan,
    ScoresStep,
    Step,
    TrajectoryStep,
    member,
)
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.experts import DataOrder
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import Hard
from ddspec.dsl.spec.trajectory import BezierTrajectory, ConvexTrajectory, SgdTrajectory
from ddspec.dsl.terms import LANGUAGE, NetworkName


def compile_spec(
    spec: Spec,
    facts: DatasetFacts,
    machine: Machine,
    measured: Mapping[NetworkName, FittedNetwork] | None = None,
) -> Plan:
    """Return the plan of a spec for images that were read, on a machine of that kind.

    The machine affects routes and estimates, but no digest. `measured` are the networks of
    torchvision, timm and extensions that the spec names, fitted to the images.
    """
    if not facts.fingerprint:
        raise ValueError("a plan needs the fingerprint of the images")
    stored = (facts.train_count + facts.test_count) * facts.channels * facts.height * facts.width
    facts = prepared(facts, spec.dataset)
    routes = Routes(spec, facts, machine, measured or {})
    steps = Compiler(spec, facts, routes, StepWork(routes, stored)).steps()
    delivered = [(step.id, step.digest, deliveries(step)) for step in steps]
    return Plan(
        language=LANGUAGE,
        name=spec.name,
        title=spec.title,
        digest=digest({"steps": delivered, "choose": spec.evaluation.choose}),
        compute=spec.compute,
        choose=spec.evaluation.choose,
        preview=spec.preview,
        measured_rates=machine.known_rates.measured,
        network_parameters=routes.size.parameters,
        steps=steps,
    )


def deliveries(step: Step) -> list[str]:
    """Return what a step must deliver beyond what its own digest says."""
    if isinstance(step, ExpertsStep):
        return [f"{m.digest}:{m.epochs}" for m in step.members]
    if isinstance(step, EvaluateStep):
        return [f"{m.digest}:{step.evaluation.repeats}" for m in step.members]
    return [m.digest for m in getattr(step, "members", ())]


def stored_settings(trajectory: ConvexTrajectory | BezierTrajectory) -> dict[str, Any]:
    """Return the settings that change which arrays are stored in place of a trajectory.

    How the stored constants are used is not among them, except for `projected` spacing, which
    needs other constants.
    """
    if isinstance(trajectory, BezierTrajectory):
        return non_default_keys(trajectory, "sampling")
    settings: dict[str, Any] = {"waypoints": trajectory.waypoints}
    if trajectory.neighbour_smoothing:
        settings["neighbour_smoothing"] = True
    if trajectory.spacing == "projected":
        settings["spacing"] = trajectory.spacing
    return settings


def first_labels(labels: Document) -> dict[str, Any]:
    """Return what the initial labels depend on; how labels are learned is not part of it."""
    return {
        name: value
        for name, value in non_default_keys(labels).items()
        if name not in ("lr", "momentum")
    }


class Compiler(StepMaker):
    """The maker of the steps of one spec."""

    def steps(self) -> tuple[Step, ...]:
        """Return all steps, each after those that it needs."""
        dataset = self.dataset()
        recipe = self.recipe(dataset)
        trajectories = [self.trajectories(recipe, dataset)] if self.spec.expert_numbers else []
        scores = [self.scores(dataset, recipe)] if trajectories and recipe.scores else []
        paths = [self.path(step) for step in trajectories if isinstance(step, TrajectoryStep)]
        initial = self.initialise(dataset, recipe)
        distill = self.distill(dataset, recipe, initial)
        evaluations = EvaluationSteps(self.spec, self.facts, self.routes, self.work)
        return (
            dataset,
            *scores,
            *trajectories,
            *paths,
            initial,
            distill,
            *evaluations.of(dataset, recipe, distill),
        )

    def dataset(self) -> DatasetStep:
        """Return the step of the images, named by content, selection and normalisation."""
        content: dict[str, Any] = {"fingerprint": self.facts.fingerprint}
        settings: dict[str, Any] = {"dataset": view_of(self.spec.dataset)}
        if self.spec.dataset.zca:
            settings["dataset"]["zca"] = self.spec.dataset.zca
        else:
            content |= {"mean": list(self.facts.mean), "std": list(self.facts.std)}
        if self.spec.preview:
            settings["preview"] = True
        preimage = {**preimage_of("dataset", settings, {}), **content}
        return DatasetStep(
            id="dataset",
            digest=digest(preimage),
            preimage=preimage,
            needs=(),
            **route_fields(self.routes.alone(batch=1)),
            estimate=self.work.dataset(),
            dataset=self.spec.dataset,
            facts=self.facts,
        )

    def recipe(self, dataset: DatasetStep) -> ExpertRecipe:
        """Return how experts are trained, without their number and length."""
        spec = self.spec
        if spec.experts.imported is not None:
            return ExpertRecipe(
                preimage=imported_preimage(spec.experts.imported),
                network=spec.network,
                augmentation=spec.training_augmentation,
                experts=spec.experts,
            )
        settings = self.training_settings()
        needs = {"dataset": dataset.digest}
        scores: tuple[Member, ...] = ()
        if spec.experts.data_order is not None:
            preimage = self.scores_preimage(dataset, spec.experts.data_order)
            needs["scores"] = digest(preimage)
            networks = range(spec.experts.data_order.score.networks)
            scores = tuple(member(preimage, number) for number in networks)
        return ExpertRecipe(
            preimage=self.preimage("experts", settings, needs),
            network=spec.network,
            augmentation=spec.training_augmentation,
            experts=spec.experts,
            scores=scores,
        )

    def training_settings(self, *left_out: str) -> dict[str, Any]:
        """Return the settings that say how one expert is trained, but for its length."""
        return {
            "network": non_default_keys(self.spec.network),
            "augmentation": non_default_keys(self.spec.training_augmentation),
            "experts": non_default_keys(self.spec.experts, "count", "epochs", *left_out),
        }

    def scores_preimage(self, dataset: DatasetStep, order: DataOrder) -> dict[str, Any]:
        """Return the preimage of the scores; the number of their networks is not part of it."""
        settings = {
            **self.training_settings("data_order"),
            "score": {"name": order.score.name, "epochs": order.score.epochs},
        }
        return self.preimage("scores", settings, {"dataset": dataset.digest})

    def scores(self, dataset: DatasetStep, recipe: ExpertRecipe) -> ScoresStep:
        """Return the step that scores the images, by networks trained as experts without order."""
        order = self.spec.experts.data_order
        assert order is not None  # its scores are in the recipe
        preimage = self.scores_preimage(dataset, order)
        experts = self.spec.experts.model_copy(update={"data_order": None})
        return ScoresStep(
            id="scores",
            digest=digest(preimage),
            preimage=preimage,
            needs=(dataset.id,),
            **route_fields(self.routes.experts(order.score.networks)),
            estimate=self.work.scores(order.score.networks, order.score.epochs),
            recipe=recipe.model_copy(
                update={"preimage": preimage, "experts": experts, "scores": ()}
            ),
            epochs=order.score.epochs,
            members=recipe.scores,
        )

    def trajectories(
        self, recipe: ExpertRecipe, dataset: DatasetStep
    ) -> ExpertsStep | TrajectoryStep:
        """Return the step that trains experts, and replaces their trajectories if asked for."""
        if isinstance(self.spec.trajectory, SgdTrajectory):
            return self.experts(recipe)
        return self.surrogates(recipe, dataset, self.spec.trajectory)

    def experts(self, recipe: ExpertRecipe) -> ExpertsStep:
        """Return the experts, trained up to the last window or, if needed, to their end."""
        spec = self.spec
        members = []
        for index in spec.expert_numbers:
            member, epochs = recipe.expert(index), spec.epochs_of_expert(index)
            members.append(ExpertMember(number=index, digest=member.digest, epochs=epochs))
        return ExpertsStep(
            id="experts",
            digest=digest(recipe.preimage),
            preimage=recipe.preimage,
            needs=("dataset", "scores") if recipe.scores else ("dataset",),
            extent=self.extent(
                "experts.count", "experts.epochs", "matching.iterations", *self.window_keys
            ),
            **route_fields(self.routes.experts(len(members))),
            estimate=self.work.experts([m.epochs for m in members], snapshots=None),
            recipe=recipe,
            members=tuple(members),
        )

    @property
    def window_keys(self) -> tuple[str, ...]:
        """Return the keys that say how far windows reach; only trajectories have any."""
        if not isinstance(self.spec.matching, TrajectoryMatching):
            return ()
        return "matching.max_start_epoch", "matching.expert_epochs"

    def surrogates(
        self,
        recipe: ExpertRecipe,
        dataset: DatasetStep,
        trajectory: ConvexTrajectory | BezierTrajectory,
    ) -> TrajectoryStep:
        """Return the step that trains every expert to its end and keeps a path of few models."""
        epochs, numbers = self.spec.experts.epochs, self.spec.expert_numbers
        preimage = self.trajectory_preimage(recipe, dataset, trajectory)
        return TrajectoryStep(
            id="trajectory",
            digest=digest(preimage),
            preimage=preimage,
            needs=("dataset", "scores") if recipe.scores else ("dataset",),
            extent=self.extent("experts.count", "matching.iterations"),
            **route_fields(self.routes.experts(len(numbers))),
            estimate=self.work.surrogates(len(numbers), trajectory),
            recipe=recipe,
            epochs=epochs,
            trajectory=trajectory,
            members=tuple(member(preimage, index) for index in numbers),
        )

    def trajectory_preimage(
        self,
        recipe: ExpertRecipe,
        dataset: DatasetStep,
        trajectory: ConvexTrajectory | BezierTrajectory,
    ) -> dict[str, Any]:
        """Return the preimage of what replaces the trajectories of a recipe."""
        epochs = self.spec.experts.epochs
        settings = {"experts": {"epochs": epochs}, "trajectory": stored_settings(trajectory)}
        needs = {"experts": digest(recipe.preimage)}
        if isinstance(trajectory, BezierTrajectory) and self.spec.experts.imported is not None:
            # A recipe names the images of its control points, except that of imported experts.
            settings["augmentation"] = non_default_keys(recipe.augmentation)
            settings |= self.network_of_imported()
            needs["dataset"] = dataset.digest
        return self.preimage("trajectory", settings, needs)

    def matched_digest(self, recipe: ExpertRecipe, dataset: DatasetStep) -> str:
        """Return the digest of all trajectories that are matched, planned or not."""
        if isinstance(self.spec.trajectory, SgdTrajectory):
            return digest(recipe.preimage)
        return digest(self.trajectory_preimage(recipe, dataset, self.spec.trajectory))

    def path(self, source: TrajectoryStep) -> PathStep:
        """Return the step that tests the paths in place of trajectories at every epoch."""
        settings = {
            "trajectory": non_default_keys(source.trajectory, "sampling"),
            **self.network_of_imported(),
        }
        preimage = self.preimage("path", settings, {"trajectory": source.digest})
        return PathStep(
            id="path",
            digest=digest(preimage),
            preimage=preimage,
            needs=(source.id,),
            extent=self.extent("experts.count", "matching.iterations"),
            **route_fields(self.routes.alone(self.facts.test_count)),
            estimate=self.work.path(len(source.members)),
            trajectory=source.trajectory,
            members=tuple(member(preimage, expert.number) for expert in source.members),
        )

    def initialise(self, dataset: DatasetStep, recipe: ExpertRecipe) -> InitialiseStep:
        """Return the step of the synthetic set before the first iteration."""
        synthetic = self.spec.synthetic
        settings: dict[str, Any] = {
            "synthetic": {
                name: value
                for name, value in non_default_keys(synthetic).items()
                if name in ("ipc", "partition", "init")
            },
            "seed": self.seed,
        }
        needs = {"dataset": dataset.digest}
        if not isinstance(synthetic.labels, Hard):
            settings["synthetic"]["labels"] = first_labels(synthetic.labels)
        if self.spec.initial_set_needs_experts:
            settings |= self.end_of_experts()
            needs["experts"] = digest(recipe.preimage)
        preimage = self.preimage("initialise", settings, needs)
        steps = ("dataset", self.experts_id) if "experts" in needs else ("dataset",)
        return InitialiseStep(
            id="initialise",
            digest=digest(preimage),
            preimage=preimage,
            needs=steps,
            **route_fields(self.routes.alone(batch=1)),
            estimate=self.work.initialise(),
            network=self.spec.network,
            synthetic=synthetic,
            seed=self.spec.seed,
        )

    def distill(
        self, dataset: DatasetStep, recipe: ExpertRecipe, initial: InitialiseStep
    ) -> DistillStep:
        """Return the outer loop; its length and the kept iterations are not part of its digest.

        A loop of no iterations has the digest of a longer one, and so names its experts, but it
        needs none.
        """
        spec = self.spec
        matched: dict[str, Any] = {}
        needs, steps = {"dataset": dataset.digest}, [dataset.id]
        if isinstance(spec.matching, TrajectoryMatching):
            matched["experts"] = {"count": spec.experts.count}
            matched["trajectory"] = non_default_keys(spec.trajectory)
            matched |= self.network_of_imported()
            needs = {self.experts_id: self.matched_digest(recipe, dataset)}
            steps = [self.experts_id] if spec.matches_experts else []
        else:
            # Students have the network of their experts; networks that compare classes, this one.
            matched["network"] = non_default_keys(spec.network)
        settings = {
            "augmentation": non_default_keys(spec.augmentation),
            **matched,
            "synthetic": non_default_keys(spec.synthetic),
            "matching": non_default_keys(spec.matching, "iterations"),
            "seed": self.seed,
        }
        needs["initialise"] = initial.digest
        preimage = self.preimage("distill", settings, needs)
        return DistillStep(
            id="distill",
            digest=digest(preimage),
            preimage=preimage,
            needs=(*steps, initial.id),
            extent=self.extent("matching.iterations", "evaluation.every"),
            **route_fields(self.routes.distill()),
            estimate=self.work.distill(),
            network=spec.network,
            augmentation=spec.augmentation,
            trajectory=spec.trajectory,
            synthetic=spec.synthetic,
            matching=spec.matching,
            expert_count=spec.experts.count,
            expert_epochs=spec.experts.epochs,
            seed=spec.seed,
            members=tuple(member(preimage, iteration) for iteration in spec.evaluated_iterations()),
        )
