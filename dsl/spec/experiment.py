"""The spec: one experiment, table by table.

Tables and keys with their types, ranges, defaults, meanings and sources live in this module and in
`dataset_table`, `experts_table`, `trajectory_table`, `synthetic_table` and `matching_table`, and
nowhere else: error messages, the JSON Schema, `ddspec explain` and the report read them from there.
A key left out means plain MTT (Cazenavette et al., arXiv:2203.11932) as its public code runs it.
Two keys depart from that: `evaluation.choose` is `last` unless a spec says otherwise, because a
maximum over the test set is never chosen in silence; and `synthetic.student_lr.positivity` is
`stop`, because a learned rate below zero is never passed on in silence.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.spec.declare import (
    DDSPEC,
    DSA,
    MOST,
    MTT,
    NAME,
    SEED_LIMIT,
    Tuple,
    by_name_or,
    by_type,
    key,
)
from ddspec.dsl.spec.experts import Experts
from ddspec.dsl.spec.matching import Matching
from ddspec.dsl.spec.synthetic import (
    Correct,
    Hard,
    LearnedLabels,
    Noise,
    Real,
    Representative,
    Synthetic,
)
from ddspec.dsl.spec.trajectory import ConvexTrajectory, SgdTrajectory
from ddspec.dsl.terms import (
    Activation,
    AugmentationFamily,
    Choice,
    NetworkName,
    Norm,
    PlainNetworkName,
    Pooling,
    Precision,
    Protocol,
)


class Compute(Document):
    """What changes the numbers by intention, and so belongs to the experiment."""

    precision: Precision = key("float32", source=DDSPEC)
    """What convolutions and linear layers multiply in; all else is float32. `tf32` (GPUs from
    Ampere on) changes a student step's gradient by one or two percent, `bfloat16` by about five;
    `float32` by a thousandth or less. Trajectories and images differ accordingly."""
    deterministic: bool = key(True, source=DDSPEC)
    """Use only operations that give the same bytes each time on one machine."""


class ConvNet(Document):
    """The field's ConvNet: blocks of 3x3 convolution, norm, activation, 2x2 pooling."""

    name: Literal["convnet"] = key("convnet", source=MTT)
    """`convnet`, with the keys below; `mlp`, `lenet`, `alexnet`, `vgg11`, `resnet18`, `resnet18_ap`
    (average pooling in place of strides) in the field's forms, with instance norm where they have
    one. With `_bn` batch norm takes its place, for evaluation alone."""
    depth: int = key(3, source=MTT, ge=1, le=8)
    """Number of blocks; each one with pooling halves the image."""
    width: int = key(128, source=MTT, ge=1, le=4096)
    """Channels of every convolution."""
    norm: Norm = key("instance", source=MTT)
    """Normalisation after each convolution. `batch` keeps running statistics, which experts cannot
    have: it is for evaluation, where `convnet_bn` stands for it."""
    pooling: Pooling = key("average", source=MTT)
    """2x2 pooling at the end of each block."""
    activation: Activation = key("relu", source=MTT)
    """Nonlinearity after each norm."""


class PlainNetwork(Document):
    """A network in the field's one form, without settings."""

    name: PlainNetworkName = key(source=MTT)
    """Kind of network."""


Network = Annotated[
    Annotated[ConvNet | PlainNetwork, Discriminator("name")],
    BeforeValidator(by_name_or("convnet")),
]


def network_of(name: NetworkName, shared: ConvNet | PlainNetwork) -> ConvNet | PlainNetwork:
    """The network of that name: the one of [network] if it is that, else in its usual form.

    `convnet_bn` is the ConvNet with batch norm in place of its norm.
    """
    if name == shared.name:
        return shared
    usual = shared if isinstance(shared, ConvNet) else ConvNet()
    match name:
        case "convnet":
            return usual
        case "convnet_bn":
            return usual.model_copy(update={"norm": "batch"})
        case _:
            return PlainNetwork(name=name)


def keeps_statistics(net: ConvNet | PlainNetwork) -> bool:
    """Whether a network has running statistics beside its parameters."""
    return net.norm == "batch" if isinstance(net, ConvNet) else net.name.endswith("_bn")


class Augmentation(Document):
    """Differentiable siamese augmentation; each batch gets one family, drawn at random."""

    families: Annotated[tuple[AugmentationFamily, ...], Tuple] = key(
        ("color", "crop", "cutout", "flip", "scale", "rotate"), source=DSA
    )
    """Families to draw from; an empty list switches augmentation off."""


class FullData(Document):
    """Training on all real images: what no synthetic set is expected to reach."""

    epochs: int = key(200, source=DDSPEC, ge=1, le=100_000)
    """Training epochs, by MTT's recipe: a tenth of the rate in the second half."""
    lr: float = key(0.01, source=DDSPEC, gt=0, le=100)
    """Learning rate."""
    repeats: int = key(1, source=DDSPEC, ge=1, le=1000)
    """Networks that are trained."""


class Evaluation(Document):
    """Fresh networks trained on the synthetic set and tested on the real test set."""

    protocol: Protocol = key("mtt", source=MTT)
    """Training recipe. `mtt`: SGD at the learned student_lr, momentum 0.9, weight decay 5e-4,
    augmented, rate times 0.1 after half of the epochs, tested once at the end. `ast`
    (its public code's): weight decay 1e-3, rate halved and momentum 0.8 in the second half, tested
    every 20 epochs, of which the best counts."""
    networks: Annotated[tuple[NetworkName, ...], Tuple] = key(
        ("convnet",), source=MTT, min_length=1
    )
    """Networks to train; the one that [network] names is built as it says."""
    repeats: int = key(5, source=MTT, ge=1, le=10_000)
    """Fresh networks per evaluation."""
    every: int = key(100, source=MTT, ge=1, le=MOST)
    """Iterations between evaluations; the first and the last set are always evaluated."""
    epochs: int = key(1000, source=MTT, ge=1, le=1_000_000)
    """Training epochs. MTT's code runs one more than it is told."""
    batch_size: int = key(256, source=MTT, ge=1, le=MOST)
    """Synthetic images per training step."""
    choose: Choice = key("last", source=DDSPEC)
    """Which iterate is kept as the result: the last, the literature's best on the test set, or
    the best on the images that dataset.validation holds out."""
    full_data: FullData | None = key(None, source=MTT)
    """Also train the networks on the whole training set, for a row to compare with; left out, no
    such row."""


class Expectation(Document):
    """An accuracy that a source reports for this experiment; the report compares with it."""

    network: NetworkName = key("convnet", source=DDSPEC)
    """Evaluation network that it was measured with."""
    accuracy: float = key(source=DDSPEC, ge=0, le=100)
    """Test accuracy in percent."""
    std: float | None = key(None, source=DDSPEC, ge=0, le=100)
    """Standard deviation over networks, in points (population, as in the field)."""
    n: int | None = key(None, source=DDSPEC, ge=1, le=MOST)
    """Networks that it was averaged over."""
    choose: Choice = key("best_on_test", source=DDSPEC)
    """Which iterate the source reports."""
    source: str = key(source=DDSPEC, min_length=1, max_length=500)
    """Where the number stands: paper, table."""


class Spec(Document):
    """One experiment."""

    model_config = ConfigDict(title="ddspec experiment")

    ddspec: Literal[1] = key(source=DDSPEC)
    """Version of the language."""
    name: str = key(source=DDSPEC, pattern=NAME)
    """Short name; run folders are called by it."""
    title: str = key("", source=DDSPEC, max_length=300)
    """One line that says what this is."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of initialisation, distillation and evaluation."""
    preview: Annotated[tuple[str, ...], Tuple] = key((), source=DDSPEC)
    """What `--preview` shrank to make this spec out of another one; a run of it is marked as a
    preview, and its numbers say nothing of the method."""
    compute: Compute = Compute()
    dataset: Dataset
    network: Network = key(ConvNet(), source=MTT)
    """The network that experts and students share, and evaluation unless it names others."""
    augmentation: Augmentation = Augmentation()
    experts: Experts = Experts()
    trajectory: Annotated[
        Annotated[SgdTrajectory | ConvexTrajectory, Discriminator("type")],
        BeforeValidator(by_type),
    ] = key(SgdTrajectory(type="sgd"), source=MTT)
    """What is matched of the experts' way: as trained, or convexified."""
    synthetic: Synthetic
    matching: Matching = Matching()
    evaluation: Evaluation = Evaluation()
    expect: Annotated[tuple[Expectation, ...], Tuple] = key((), source=DDSPEC)

    def iterates(self) -> tuple[int, ...]:
        """Iterations whose synthetic set is kept and evaluated."""
        last = self.matching.iterations
        return tuple(sorted({*range(0, last, self.evaluation.every), last}))

    def experts_run_to_the_end(self) -> frozenset[int]:
        """Experts whose last epoch is asked for, however far windows reach.

        The first one always: baselines and what is said of experts need one whole expert.
        """
        wanted = {0}
        match self.synthetic.init:
            case Representative(expert=expert):
                wanted.add(expert)
            case Correct(experts=experts):
                wanted.update(range(experts))
            case _:
                pass
        if isinstance(self.synthetic.labels, LearnedLabels):
            wanted.update(range(self.synthetic.labels.experts or self.experts.count))
        return frozenset(wanted)

    @property
    def beginning_needs_experts(self) -> bool:
        """Whether the first synthetic set depends on trained experts."""
        return not (
            isinstance(self.synthetic.init, Real | Noise)
            and isinstance(self.synthetic.labels, Hard)
        )

    @property
    def expert_epochs_needed(self) -> int:
        """Last epoch that a window can reach along a trajectory that is stored as it ran."""
        return self.matching.max_start_epoch - 1 + int(self.matching.expert_epochs)


def resolved(spec: Spec) -> Mapping[str, Any]:
    """The spec with every default written out, ready for TOML (which has no null)."""
    values: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    if not spec.expect:
        del values["expect"]
    return values
