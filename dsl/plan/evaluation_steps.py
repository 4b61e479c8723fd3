"""The steps that evaluate: synthetic sets, random real images, all real images."""

from collections.abc import Mapping
from typing import Any, assert_never

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.step_maker import (
    StepMaker,
    non_default_keys,
    route_fields,
    stage_version,
)
from ddspec.dsl.plan.steps import DatasetStep, DistillStep, EvaluateStep, ExpertRecipe, member
from ddspec.dsl.spec.evaluation import FullData
from ddspec.dsl.spec.experiment import Augmentation
from ddspec.dsl.spec.network import network_id
from ddspec.dsl.spec.synthetic import Imported
from ddspec.dsl.terms import Baseline, NetworkName, Subject

NOT_IN_DIGESTS = (
    "networks",
    "repeats",
    "every",
    "choose",
    "baselines",
    "full_data",
    "augmentation",
)
"""Keys of [evaluation] that do not change an evaluation, but say which there are; and its
augmentation, which stands under its own name."""


PLAIN: tuple[Subject, ...] = ("distilled_plain", "random_real_plain")
"""Subjects whose networks are trained without augmentation."""


class EvaluationSteps(StepMaker):
    """The maker of one spec's evaluation steps."""

    def of(
        self, dataset: DatasetStep, recipe: ExpertRecipe, distill: DistillStep
    ) -> list[EvaluateStep]:
        """Return the steps of every network on every subject."""
        return [
            step
            for name in self.spec.evaluation.networks
            for step in (
                self.evaluate(name, distill),
                *(
                    self.baseline(name, kind, dataset, recipe, distill)
                    for kind in self.spec.baselines
                ),
            )
        ]

    def baseline(
        self,
        name: NetworkName,
        kind: Baseline,
        dataset: DatasetStep,
        recipe: ExpertRecipe,
        distill: DistillStep,
    ) -> EvaluateStep:
        """Return the step of one baseline."""
        match kind:
            case "random_real" | "random_real_plain":
                return self.random_real(name, kind, dataset, None)
            case "distilled_hard_labels" | "distilled_plain":
                return self.last_set(name, kind, distill)
            case "random_real_expert_labels":
                return self.random_real(name, kind, dataset, recipe)
            case "full_data":
                return self.full_data(name, dataset)
            case _:
                assert_never(kind)

    def full_data(self, name: NetworkName, dataset: DatasetStep) -> EvaluateStep:
        """Return the step on all real images, which does not depend on the rest."""
        spec, full = self.spec, self.spec.evaluation.full_data or FullData()
        settings = self.evaluation_settings(name)
        settings["evaluation"] = {
            "protocol": "mtt",
            "batch_size": spec.evaluation.batch_size,
            "networks": name,
            "full_data": {"epochs": full.epochs, "lr": full.lr},
        }
        preimage = self.preimage("evaluate", settings, {"dataset": dataset.digest})
        preimage["subject"] = "full_data"
        asked = {
            "protocol": "mtt",
            "epochs": full.epochs,
            "repeats": full.repeats,
            "lr_search": None,
        }
        shared = self.shared_by_evaluations(name)
        shared["evaluation"] = shared["evaluation"].model_copy(update={**asked, "full_data": full})
        return EvaluateStep(
            id=f"full-data-{network_id(name)}",
            digest=digest(preimage),
            preimage=preimage,
            needs=(dataset.id,),
            extent={"evaluation.full_data.repeats": full.repeats},
            **route_fields(self.routes.full_data(name, full.repeats)),
            estimate=self.work.full_data(full, name),
            subject="full_data",
            members=(member(preimage, 0),),
            **shared,
        )

    def evaluation_settings(self, name: NetworkName) -> dict[str, Any]:
        """Return the part of the preimage that all evaluations by one network share."""
        return {
            "network": non_default_keys(self.routes.network_of(name)),
            "augmentation": non_default_keys(self.spec.evaluation_augmentation),
            "evaluation": {
                **non_default_keys(self.spec.evaluation, *NOT_IN_DIGESTS),
                "networks": name,
            },
            "seed": self.seed,
        }

    def by_protocol(self, settings: Mapping[str, Any], needs: Mapping[str, str]) -> dict[str, Any]:
        """Return the preimage of an evaluation by the spec's protocol."""
        version = stage_version("evaluate", self.spec.evaluation.protocol)
        return {**self.preimage("evaluate", settings, needs), "version": version}

    def evaluate(self, name: NetworkName, distill: DistillStep) -> EvaluateStep:
        """Return the step that trains fresh networks on every kept synthetic set."""
        preimage = self.by_protocol(self.evaluation_settings(name), {"distill": distill.digest})
        iterations = self.spec.evaluated_iterations()
        return EvaluateStep(
            id=f"evaluate-{network_id(name)}",
            digest=digest(preimage),
            preimage=preimage,
            needs=(distill.id,),
            extent=self.extent("matching.iterations", "evaluation.every", "evaluation.repeats"),
            **route_fields(self.routes.evaluation(name, len(iterations))),
            estimate=self.work.evaluate(len(iterations), name),
            subject="distilled",
            members=tuple(member(preimage, iteration) for iteration in iterations),
            **self.shared_by_evaluations(name),
        )

    def last_set(self, name: NetworkName, subject: Baseline, distill: DistillStep) -> EvaluateStep:
        """Return the step that trains networks in another way on the last synthetic set."""
        settings = self.without_augmentation(self.evaluation_settings(name), subject)
        preimage = {**self.by_protocol(settings, {"distill": distill.digest}), "subject": subject}
        return EvaluateStep(
            id=f"{subject.replace('_', '-')}-{network_id(name)}",
            digest=digest(preimage),
            preimage=preimage,
            needs=(distill.id,),
            extent=self.extent("matching.iterations", "evaluation.repeats"),
            **route_fields(self.routes.evaluation(name, sets=1)),
            estimate=self.work.evaluate(1, name),
            subject=subject,
            members=(member(preimage, self.spec.evaluated_iterations()[-1]),),
            **self.shared_by_evaluations(name, subject),
        )

    def without_augmentation(self, settings: dict[str, Any], subject: Baseline) -> dict[str, Any]:
        """Return the settings of a baseline, without augmentation if it has none."""
        if subject in PLAIN:
            settings["augmentation"] = non_default_keys(Augmentation(families=()))
        return settings

    def random_real(
        self,
        name: NetworkName,
        subject: Baseline,
        dataset: DatasetStep,
        labelled_by: ExpertRecipe | None,
    ) -> EvaluateStep:
        """Return the step in which each network trains on its own draw of random real images."""
        synthetic: dict[str, Any] = {"ipc": self.spec.synthetic.ipc}
        init = self.spec.synthetic.init
        if not self.spec.evaluation.has_lr:
            synthetic["student_lr"] = {"init": self.spec.synthetic.student_lr.init}
            if isinstance(init, Imported):
                # The learning rate of the set, if it brings one.
                synthetic["init"] = non_default_keys(init)
        settings = {**self.evaluation_settings(name), "synthetic": synthetic}
        settings = self.without_augmentation(settings, subject)
        needs = {"dataset": dataset.digest}
        if labelled_by is not None:
            settings |= self.end_of_experts()
            needs["experts"] = digest(labelled_by.preimage)
        steps = (dataset.id, self.experts_id) if labelled_by is not None else (dataset.id,)
        preimage = {**self.by_protocol(settings, needs), "subject": subject}
        return EvaluateStep(
            id=f"{subject.replace('_', '-')}-{network_id(name)}",
            digest=digest(preimage),
            preimage=preimage,
            needs=steps,
            extent=self.extent("evaluation.repeats"),
            **route_fields(self.routes.evaluation(name, sets=1)),
            estimate=self.work.evaluate(1, name),
            subject=subject,
            members=(member(preimage, 0),),
            **self.shared_by_evaluations(name, subject),
        )

    def shared_by_evaluations(
        self, name: NetworkName, subject: Subject = "distilled"
    ) -> dict[str, Any]:
        """Return the fields that all evaluation steps share."""
        spec = self.spec
        augmentation = spec.evaluation_augmentation
        return {
            "network_name": name,
            "network": self.routes.network_of(name),
            "augmentation": Augmentation(families=()) if subject in PLAIN else augmentation,
            # Which baselines there are is told by the steps, not in each of them.
            "evaluation": spec.evaluation.model_copy(update={"baselines": None}),
            "synthetic": spec.synthetic,
            "seed": spec.seed,
        }
