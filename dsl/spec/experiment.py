"""The spec: one experiment, table by table.

The modules of this folder declare the tables and keys with their types, ranges,
defaults, meanings and sources, and nothing else does: error messages, the JSON Schema,
`ddspec explain` and the report read them from here. A spec without optional keys means
plain MTT (Cazenavette et al., arXiv:2203.11932) as its public code runs it.

Two defaults depart from that code. `evaluation.choose` is `last`, because a maximum
over the test set is never chosen silently. `synthetic.student_lr.positivity` is `stop`,
because a learned learning rate below zero is never accepted silently.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, assert_never, get_args

from pydantic import BeforeValidator, ConfigDict, model_validator

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import (
    DDSPEC,
    DSA,
    MTT,
    NAME,
    NAME_WORDS,
    SEED_LIMIT,
    Tuple,
    by_name,
    by_type,
    key,
)
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.spec.evaluation import Evaluation, Expectation
from ddspec.dsl.spec.experts import Experts
from ddspec.dsl.spec.matching import Matching
from ddspec.dsl.spec.network import ConvNet, Network
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import (
    Correct,
    ExpertLabels,
    Forgetting,
    Hard,
    Herding,
    Imported,
    KCenter,
    LearnedLabels,
    Noise,
    ProbabilityLabels,
    Real,
    RegressionLabels,
    Representative,
    Synthetic,
    UnnormalizedLabels,
)
from ddspec.dsl.spec.trajectory import SgdTrajectory, Trajectory
from ddspec.dsl.terms import AugmentationFamily, Baseline, Precision


class Compute(Document):
    """Settings that change the numbers by intention, and so belong to the experiment."""

    precision: Precision = key("float32", source=DDSPEC)
    """Precision in which convolutions and linear layers multiply; all else is float32.
    `tf32` (GPUs from Ampere on) changes the gradient of a student step by one or two
    percent, `bfloat16` by about five, `float32` by a thousandth or less. Trajectories
    and images differ accordingly."""
    deterministic: bool = key(True, source=DDSPEC)
    """Use only operations that give the same bytes every time on one machine."""


class Augmentation(Document):
    """Differentiable siamese augmentation; each batch gets one family, drawn at random."""

    families: Annotated[tuple[AugmentationFamily, ...], Tuple] = key(
        ("color", "crop", "cutout", "flip", "scale", "rotate"), source=DSA
    )
    """Families to draw from; an empty list switches augmentation off."""
    siamese: bool = key(False, source=DSA)
    """Whether all real and synthetic images that are compared share one draw: its family
    and its numbers. If false, each batch has its family and each image its numbers.
    Networks are always trained with the latter."""


class Spec(Document):
    """One experiment."""

    model_config = ConfigDict(title="ddspec experiment")

    ddspec: Literal[1] = key(source=DDSPEC)
    """Version of the language."""
    name: str = key(source=DDSPEC, pattern=NAME, pattern_words=NAME_WORDS)
    """Short name of the experiment; run folders are named after it."""
    title: str = key("", source=DDSPEC, max_length=300)
    """One line that says what this experiment is."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of initialisation, distillation and evaluation."""
    preview: Annotated[tuple[str, ...], Tuple] = key((), source=DDSPEC)
    """Settings that `--preview` shrank when it made this spec from another one. A run
    of it is marked as a preview; its numbers say nothing about the method."""
    compute: Compute = Compute()
    dataset: Dataset
    network: Network = key(ConvNet(), source=MTT)
    """Network of experts and students, and of evaluation unless it names others."""
    augmentation: Augmentation = Augmentation()
    experts: Experts = Experts()
    trajectory: Annotated[Trajectory, BeforeValidator(by_type)] = key(
        SgdTrajectory(type="sgd"), source=MTT
    )
    """How experts' trajectories are matched: as they were trained, convexified, or
    replaced by Bezier curves."""
    synthetic: Synthetic
    matching: Matching = key(TrajectoryMatching(), source=MTT)
    """The outer loop: what is matched, and how often. If absent in a spec of an imported
    set, the set is evaluated without any iteration."""
    evaluation: Evaluation = Evaluation()
    expect: Annotated[tuple[Expectation, ...], Tuple] = key((), source=DDSPEC)

    @model_validator(mode="before")
    @classmethod
    def imported_set_is_only_evaluated(cls, values: Any) -> Any:
        """Give a spec of an imported set without [matching] no iterations."""
        if isinstance(values, dict) and "matching" not in values:
            init = by_name((values.get("synthetic") or {}).get("init"))
            if isinstance(init, dict) and init.get("name") == "imported":
                return {**values, "matching": {"iterations": 0}}
        return values

    @property
    def outline(self) -> dict[str, str]:
        """What the spec is in a few words each: data, network, method, evaluation."""
        parts = self.synthetic.partition
        return {
            "title": self.title or self.name,
            "dataset": self.dataset.root or self.dataset.name,
            "network": self.network.name,
            "images per class": str(self.synthetic.ipc)
            + (f" of {parts}x{parts} parts" if parts > 1 else ""),
            "initial images": self.synthetic.init.name,
            "labels": self.synthetic.labels.name,
            "matching": self.matching.objective,
            "iterations": str(self.matching.iterations),
            "evaluated by": ", ".join(self.evaluation.networks),
        }

    def evaluated_iterations(self) -> tuple[int, ...]:
        """Return the iterations whose synthetic set is kept and evaluated."""
        last = self.matching.iterations
        return tuple(sorted({*range(0, last, self.evaluation.every), last}))

    @property
    def training_augmentation(self) -> Augmentation:
        """Augmentation of the batches that experts are trained on."""
        return Augmentation(families=self.augmentation.families)

    @property
    def evaluation_augmentation(self) -> Augmentation:
        """Augmentation of the batches that evaluation networks are trained on."""
        families = self.evaluation.augmentation
        return self.training_augmentation if families is None else Augmentation(families=families)

    @property
    def matches_experts(self) -> bool:
        """Whether the outer loop reads trajectories of experts."""
        return isinstance(self.matching, TrajectoryMatching) and self.matching.iterations > 0

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Baselines of every evaluation network: those asked for, or the default ones."""
        asked: set[Baseline] = {"random_real"}
        if self.evaluation.baselines is not None:
            asked = set(self.evaluation.baselines)
        elif self.matches_experts:
            asked.add("random_real_expert_labels")
        if self.evaluation.full_data is not None:
            asked.add("full_data")
        return tuple(name for name in get_args(Baseline) if name in asked)

    def complete_experts(self) -> frozenset[int]:
        """Return the experts that are trained to their last epoch, however far windows reach."""
        experts = {0} if "random_real_expert_labels" in self.baselines else set()
        match self.synthetic.init:
            case Real() | Noise() | Imported():
                pass
            case Representative(expert=expert):
                experts.add(expert)
            case Correct(experts=count):
                experts.update(range(count))
            case Herding() | KCenter() | Forgetting():
                experts.add(0)
            case _:
                assert_never(self.synthetic.init)
        match self.synthetic.labels:
            case Hard() | UnnormalizedLabels() | RegressionLabels():
                pass
            case ExpertLabels():
                experts.add(0)
            case LearnedLabels(experts=labelling):
                experts.update(range(labelling or self.experts.count))
            case _:
                assert_never(self.synthetic.labels)
        return frozenset(experts)

    @property
    def expert_numbers(self) -> tuple[int, ...]:
        """Experts that are trained: all if they are matched, else those that a step reads."""
        if self.matches_experts:
            return tuple(range(self.experts.count))
        return tuple(sorted(self.complete_experts()))

    @property
    def initial_set_needs_experts(self) -> bool:
        """Whether the initial synthetic set depends on trained experts."""
        return not (
            isinstance(self.synthetic.init, Real | Noise | Imported)
            and not isinstance(self.synthetic.labels, ProbabilityLabels)
        )

    def epochs_of_expert(self, number: int) -> int:
        """Return the epochs that an expert runs: all, or as many as windows can reach."""
        if number in self.complete_experts() or not isinstance(self.matching, TrajectoryMatching):
            return self.experts.epochs
        return self.matching.last_epoch


def resolved(spec: Spec) -> Mapping[str, Any]:
    """Return the spec with every default written out, ready for TOML.

    Keys whose value is None are left out, because TOML has no null.
    """
    values: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    if not spec.expect:
        del values["expect"]
    return values
