"""From a checked spec to a plan: the steps, their digests, and no more work than is matched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddspec.dsl.datasets import DatasetFacts, prepared, view_of
from ddspec.dsl.digest import digest
from ddspec.dsl.document import Document
from ddspec.dsl.estimate import Work
from ddspec.dsl.machine import Machine
from ddspec.dsl.plan import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertMember,
    ExpertRecipe,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    Plan,
    Step,
    TrajectoryStep,
    member,
)
from ddspec.dsl.routes import Routes, Way
from ddspec.dsl.spec import Spec, network_of
from ddspec.dsl.synthetic_table import Hard, LearnedLabels
from ddspec.dsl.terms import LANGUAGE, NetworkName, StepKind, Subject
from ddspec.dsl.trajectory_table import ConvexTrajectory

VERSIONS: Mapping[StepKind, int] = {
    "dataset": 1,
    "experts": 1,
    "trajectory": 1,
    "path": 1,
    "initialise": 1,
    "distill": 2,
    "evaluate": 2,
}
"""Raised when a stage comes to mean something else; its artifacts then get new names."""


def compile_spec(spec: Spec, facts: DatasetFacts, machine: Machine) -> Plan:
    """The plan of a spec for images that were read, on a machine of that kind.

    The machine enters routes and estimates, and no digest.
    """
    if not facts.fingerprint:
        raise ValueError("a plan needs the fingerprint of the images")
    stored = (facts.train_count + facts.test_count) * facts.channels * facts.height * facts.width
    facts = prepared(facts, spec.dataset)
    routes = Routes(spec, facts, machine)
    steps = Compiler(spec, facts, routes, Work(routes, stored)).steps()
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


def on(way: Way) -> dict[str, Any]:
    """The fields of a step that say how it is computed."""
    return {"route": way.route, "processes": way.processes}


def deliveries(step: Step) -> list[str]:
    """What a step has to deliver, as far as its own digest does not say it."""
    if isinstance(step, ExpertsStep):
        return [f"{m.digest}:{m.epochs}" for m in step.members]
    if isinstance(step, EvaluateStep):
        return [f"{m.digest}:{step.evaluation.repeats}" for m in step.members]
    return [m.digest for m in getattr(step, "members", ())]


def chosen(table: Document, *left_out: str) -> dict[str, Any]:
    """The keys of a table that differ from their defaults, without some of them."""
    return table.model_dump(mode="json", exclude_defaults=True, exclude=set(left_out))


def preimage_of(
    kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
) -> dict[str, Any]:
    """A pre-image of settings under their names in the spec; empty tables are left out."""
    return {
        "step": kind,
        "version": VERSIONS[kind],
        "language": LANGUAGE,
        "settings": {name: value for name, value in settings.items() if value not in ({}, None)},
        "needs": dict(needs),
    }


def stored_settings(trajectory: ConvexTrajectory) -> dict[str, Any]:
    """What changes the waypoints and constants that are stored of a convexified trajectory.

    How the constants are read is no part of it, but for `projected`, which needs its own.
    """
    settings: dict[str, Any] = {"waypoints": trajectory.waypoints}
    if trajectory.neighbour_smoothing:
        settings["neighbour_smoothing"] = True
    if trajectory.spacing == "projected":
        settings["spacing"] = trajectory.spacing
    return settings


def first_labels(labels: Document) -> dict[str, Any]:
    """What the labels before the first iteration depend on: not on how they are learned."""
    left_out = {"lr", "momentum"} if isinstance(labels, LearnedLabels) else set()
    return chosen(labels, *left_out)


@dataclass(frozen=True)
class Compiler:
    """Makes each step of one spec."""

    spec: Spec
    facts: DatasetFacts
    routes: Routes
    work: Work

    def steps(self) -> tuple[Step, ...]:
        """All steps, each after what it needs."""
        dataset = self.dataset()
        recipe = self.recipe(dataset)
        trajectories = self.trajectories(recipe)
        paths = [self.path(trajectories)] if isinstance(trajectories, TrajectoryStep) else []
        initial = self.initialise(dataset, recipe)
        distill = self.distill(trajectories, initial)
        evaluations = [
            step
            for name in self.spec.evaluation.networks
            for step in (
                self.evaluate(name, distill),
                self.baseline(name, "random_real", dataset, None),
                self.baseline(name, "random_real_expert_labels", dataset, recipe),
                *self.full_data(name, dataset),
            )
        ]
        return (dataset, trajectories, *paths, initial, distill, *evaluations)

    def preimage(
        self, kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
    ) -> dict[str, Any]:
        """What is hashed: settings under their names in the spec, empty tables left out."""
        return preimage_of(kind, {**settings, "compute": chosen(self.spec.compute)}, needs)

    def extent(self, *keys: str) -> dict[str, Any]:
        """The values of some keys, by dotted path."""
        tables = self.spec.model_dump(mode="json")
        return {key: tables[key.split(".")[0]][key.split(".")[1]] for key in keys}

    @property
    def seed(self) -> int | None:
        """The seed of the run, left out of a pre-image where it is the default."""
        return self.spec.seed or None

    def dataset(self) -> DatasetStep:
        """The images, named by their content, the choice among them and their normalisation."""
        content: dict[str, Any] = {"fingerprint": self.facts.fingerprint}
        settings: dict[str, Any] = {"dataset": view_of(self.spec.dataset)}
        if self.spec.dataset.zca:
            settings["dataset"]["zca"] = True
        else:
            content |= {"mean": list(self.facts.mean), "std": list(self.facts.std)}
        if self.spec.preview:
            settings["preview"] = True
        preimage = {**preimage_of("dataset", settings, {}), **content}
        return DatasetStep(
            id="dataset",
            digest=digest(preimage),
            preimage=preimage,
            **on(self.routes.alone(batch=1)),
            estimate=self.work.dataset(),
            dataset=self.spec.dataset,
            facts=self.facts,
        )

    def recipe(self, dataset: DatasetStep) -> ExpertRecipe:
        """How experts are trained; their number and length are no part of it."""
        spec = self.spec
        settings = {
            "network": chosen(spec.network),
            "augmentation": chosen(spec.augmentation),
            "experts": chosen(spec.experts, "count", "epochs"),
        }
        return ExpertRecipe(
            preimage=self.preimage("experts", settings, {"dataset": dataset.digest}),
            network=spec.network,
            augmentation=spec.augmentation,
            experts=spec.experts,
        )

    def trajectories(self, recipe: ExpertRecipe) -> ExpertsStep | TrajectoryStep:
        """What is matched: experts' snapshots, or convexified trajectories."""
        if isinstance(self.spec.trajectory, ConvexTrajectory):
            return self.convexified(recipe, self.spec.trajectory)
        return self.experts(recipe)

    def experts(self, recipe: ExpertRecipe) -> ExpertsStep:
        """Experts as far as windows reach; whole ones where their last epoch is asked for."""
        spec = self.spec
        whole = spec.experts_run_to_the_end()
        members = []
        for index in self.expert_numbers():
            epochs = spec.experts.epochs if index in whole else spec.expert_epochs_needed
            found = recipe.expert(index)
            members.append(ExpertMember(number=index, digest=found.digest, epochs=epochs))
        return ExpertsStep(
            id="experts",
            digest=digest(recipe.preimage),
            preimage=recipe.preimage,
            extent=self.extent(
                "experts.count",
                "experts.epochs",
                "matching.iterations",
                "matching.max_start_epoch",
                "matching.expert_epochs",
            ),
            **on(self.routes.experts(len(members))),
            estimate=self.work.experts([m.epochs for m in members], snapshots=None),
            recipe=recipe,
            members=tuple(members),
        )

    def expert_numbers(self) -> list[int]:
        """Experts that are trained: all, or where nothing is matched those that are asked for."""
        if self.spec.matching.iterations == 0:
            return sorted(self.spec.experts_run_to_the_end())
        return list(range(self.spec.experts.count))

    def convexified(self, recipe: ExpertRecipe, trajectory: ConvexTrajectory) -> TrajectoryStep:
        """Every expert to its end, of which the waypoints and step lengths are kept."""
        epochs, numbers = self.spec.experts.epochs, self.expert_numbers()
        settings = {"experts": {"epochs": epochs}, "trajectory": stored_settings(trajectory)}
        preimage = self.preimage("trajectory", settings, {"experts": digest(recipe.preimage)})
        return TrajectoryStep(
            id="trajectory",
            digest=digest(preimage),
            preimage=preimage,
            extent=self.extent("experts.count", "matching.iterations"),
            **on(self.routes.experts(len(numbers))),
            estimate=self.work.experts([epochs] * len(numbers), snapshots=trajectory.waypoints),
            recipe=recipe,
            epochs=epochs,
            trajectory=trajectory,
            members=tuple(member(preimage, index) for index in numbers),
        )

    def path(self, source: TrajectoryStep) -> PathStep:
        """Convexified trajectories tested along the way."""
        settings = {"trajectory": chosen(source.trajectory, "sampling")}
        preimage = self.preimage("path", settings, {"trajectory": source.digest})
        return PathStep(
            id="path",
            digest=digest(preimage),
            preimage=preimage,
            extent=self.extent("experts.count", "matching.iterations"),
            **on(self.routes.alone(self.facts.test_count)),
            estimate=self.work.path(len(source.members)),
            trajectory=source.trajectory,
            members=tuple(member(preimage, own.number) for own in source.members),
        )

    def end_of_experts(self) -> dict[str, Any]:
        """Settings that say what an expert's last epoch is."""
        return {"experts": {"epochs": self.spec.experts.epochs}}

    def initialise(self, dataset: DatasetStep, recipe: ExpertRecipe) -> InitialiseStep:
        """The synthetic set before the first iteration."""
        synthetic = self.spec.synthetic
        settings: dict[str, Any] = {
            "synthetic": {
                name: value for name, value in chosen(synthetic).items() if name in ("ipc", "init")
            },
            "seed": self.seed,
        }
        needs = {"dataset": dataset.digest}
        if not isinstance(synthetic.labels, Hard):
            settings["synthetic"]["labels"] = first_labels(synthetic.labels)
        if self.spec.beginning_needs_experts:
            settings |= self.end_of_experts()
            needs["experts"] = digest(recipe.preimage)
        preimage = self.preimage("initialise", settings, needs)
        return InitialiseStep(
            id="initialise",
            digest=digest(preimage),
            preimage=preimage,
            **on(self.routes.alone(batch=1)),
            estimate=self.work.initialise(),
            network=self.spec.network,
            synthetic=synthetic,
            seed=self.spec.seed,
        )

    def distill(
        self, trajectories: ExpertsStep | TrajectoryStep, initial: InitialiseStep
    ) -> DistillStep:
        """The outer loop; how long it runs and what it keeps is no part of its digest."""
        spec = self.spec
        settings = {
            "augmentation": chosen(spec.augmentation),
            "experts": {"count": spec.experts.count},
            "trajectory": chosen(spec.trajectory),
            "synthetic": chosen(spec.synthetic),
            "matching": chosen(spec.matching, "iterations"),
            "seed": self.seed,
        }
        needs = {trajectories.kind: trajectories.digest, "initialise": initial.digest}
        preimage = self.preimage("distill", settings, needs)
        return DistillStep(
            id="distill",
            digest=digest(preimage),
            preimage=preimage,
            extent=self.extent("matching.iterations", "evaluation.every"),
            **on(self.routes.distill()),
            estimate=self.work.distill(),
            network=spec.network,
            augmentation=spec.augmentation,
            trajectory=spec.trajectory,
            synthetic=spec.synthetic,
            matching=spec.matching,
            expert_count=spec.experts.count,
            expert_epochs=spec.experts.epochs,
            seed=spec.seed,
            members=tuple(member(preimage, iteration) for iteration in spec.iterates()),
        )

    def full_data(self, name: NetworkName, dataset: DatasetStep) -> tuple[EvaluateStep, ...]:
        """Fresh networks on all real images, where a spec asks for it; whatever is distilled."""
        spec, full = self.spec, self.spec.evaluation.full_data
        if full is None:
            return ()
        settings = self.evaluation_settings(name)
        settings["evaluation"] = {
            "protocol": "mtt",
            "batch_size": spec.evaluation.batch_size,
            "networks": name,
            "full_data": {"epochs": full.epochs, "lr": full.lr},
        }
        preimage = self.preimage("evaluate", settings, {"dataset": dataset.digest})
        preimage["subject"] = "full_data"
        asked = {"protocol": "mtt", "epochs": full.epochs, "repeats": full.repeats}
        shared = self.shared_by_evaluations(name)
        shared["evaluation"] = spec.evaluation.model_copy(update=asked)
        return (
            EvaluateStep(
                id=f"full-data-{name}",
                digest=digest(preimage),
                preimage=preimage,
                extent={"evaluation.full_data.repeats": full.repeats},
                **on(self.routes.full_data(name, full.repeats)),
                estimate=self.work.full_data(full, name),
                subject="full_data",
                members=(member(preimage, 0),),
                **shared,
            ),
        )

    def evaluation_settings(self, name: NetworkName) -> dict[str, Any]:
        """What an evaluation by one network reads, whatever its subject."""
        return {
            "network": chosen(network_of(name, self.spec.network)),
            "augmentation": chosen(self.spec.augmentation),
            "evaluation": {
                **chosen(
                    self.spec.evaluation, "networks", "repeats", "every", "choose", "full_data"
                ),
                "networks": name,
            },
            "seed": self.seed,
        }

    def evaluate(self, name: NetworkName, distill: DistillStep) -> EvaluateStep:
        """Fresh networks on every kept synthetic set."""
        preimage = self.preimage(
            "evaluate", self.evaluation_settings(name), {"distill": distill.digest}
        )
        iterations = self.spec.iterates()
        return EvaluateStep(
            id=f"evaluate-{name}",
            digest=digest(preimage),
            preimage=preimage,
            extent=self.extent("matching.iterations", "evaluation.every", "evaluation.repeats"),
            **on(self.routes.evaluation(name, len(iterations))),
            estimate=self.work.evaluate(len(iterations), name),
            subject="distilled",
            members=tuple(member(preimage, iteration) for iteration in iterations),
            **self.shared_by_evaluations(name),
        )

    def baseline(
        self,
        name: NetworkName,
        subject: Subject,
        dataset: DatasetStep,
        labelled_by: ExpertRecipe | None,
    ) -> EvaluateStep:
        """Fresh networks, each on its own draw of random real images, with the labels asked for."""
        synthetic = {
            "ipc": self.spec.synthetic.ipc,
            "student_lr": {"init": self.spec.synthetic.student_lr.init},
        }
        settings = {**self.evaluation_settings(name), "synthetic": synthetic}
        needs = {"dataset": dataset.digest}
        if labelled_by is not None:
            settings |= self.end_of_experts()
            needs["experts"] = digest(labelled_by.preimage)
        preimage = {**self.preimage("evaluate", settings, needs), "subject": subject}
        return EvaluateStep(
            id=f"{subject.replace('_', '-')}-{name}",
            digest=digest(preimage),
            preimage=preimage,
            extent=self.extent("evaluation.repeats"),
            **on(self.routes.evaluation(name, sets=1)),
            estimate=self.work.evaluate(1, name),
            subject=subject,
            members=(member(preimage, 0),),
            **self.shared_by_evaluations(name),
        )

    def shared_by_evaluations(self, name: NetworkName) -> dict[str, Any]:
        """Fields that every evaluation step has alike."""
        spec = self.spec
        return {
            "network_name": name,
            "network": network_of(name, spec.network),
            "augmentation": spec.augmentation,
            "evaluation": spec.evaluation,
            "synthetic": spec.synthetic,
            "seed": spec.seed,
        }
