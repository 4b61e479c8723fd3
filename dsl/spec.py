"""The spec: every table and key of the language, with type, range, default, meaning and source.

The one place where these live: error messages, the JSON Schema, `ddspec explain` and the report
read them from here. A key left out means plain MTT (Cazenavette et al., arXiv:2203.11932) as its
public code runs it. One key departs from that: `evaluation.choose` is `last` unless a spec says
otherwise, because a maximum over the test set is never chosen in silence.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Strict

from ddspec.dsl.document import Document
from ddspec.dsl.terms import (
    Activation,
    AugmentationFamily,
    Choice,
    DatasetName,
    LabelKind,
    NetworkName,
    Norm,
    OuterGradient,
    Pooling,
    Precision,
    Protocol,
    Sampling,
    Spacing,
    Waypoints,
)

MTT = "MTT (arXiv:2203.11932)"
MCT = "MCT (arXiv:2406.19827)"
DSA = "DSA (arXiv:2102.08259)"
DDSPEC = "ddspec"

SEED_LIMIT = 2**63 - 1
MOST = 1_000_000_000
"""What no count or length exceeds."""


def key(default: Any = ..., *, source: str, **bounds: Any) -> Any:
    """A key of the language: its default (or none), where it comes from, its range."""
    return Field(default, json_schema_extra={"source": source}, **bounds)


def by_name(value: Any) -> Any:
    """`init = "real"` is short for `init = { name = "real" }`."""
    return {"name": value} if isinstance(value, str) else value


def by_type(value: Any) -> Any:
    """`trajectory = "convex"` is short for `trajectory = { type = "convex" }`."""
    return {"type": value} if isinstance(value, str) else value


Tuple = Strict(False)
"""TOML has arrays and no tuples; the items stay strict."""


class Compute(Document):
    """What changes the numbers by intention, and so belongs to the experiment."""

    precision: Precision = key("float32", source=DDSPEC)
    """Number format of all tensors."""
    deterministic: bool = key(True, source=DDSPEC)
    """Use only operations that give the same bytes each time on one machine."""


class Dataset(Document):
    """The real images. Where they lie is no part of the experiment: --data or $DDSPEC_DATA."""

    name: DatasetName = key(source=DDSPEC)
    """The dataset; `folder` is an image folder of your own."""
    root: str | None = key(None, source=DDSPEC, min_length=1, max_length=200)
    """For `folder`: its name below the data folder."""


class ConvNet(Document):
    """The network that experts, students and evaluation share."""

    name: NetworkName = key("convnet", source=MTT)
    """Kind of network; `convnet` is blocks of 3x3 convolution, norm, activation, 2x2 pooling."""
    depth: int = key(3, source=MTT, ge=1, le=8)
    """Number of blocks; each one with pooling halves the image."""
    width: int = key(128, source=MTT, ge=1, le=4096)
    """Channels of every convolution."""
    norm: Norm = key("instance", source=MTT)
    """Normalisation after each convolution; none of them keeps running statistics."""
    pooling: Pooling = key("average", source=MTT)
    """2x2 pooling at the end of each block."""
    activation: Activation = key("relu", source=MTT)
    """Nonlinearity after each norm."""


class Augmentation(Document):
    """Differentiable siamese augmentation; each batch gets one family, drawn at random."""

    families: Annotated[tuple[AugmentationFamily, ...], Tuple] = key(
        ("color", "crop", "cutout", "flip", "scale", "rotate"), source=DSA
    )
    """Families to draw from; an empty list switches augmentation off."""


class Sgd(Document):
    """Stochastic gradient descent as in torch.optim.SGD."""

    name: Literal["sgd"] = key("sgd", source=MTT)
    """The optimiser."""
    lr: float = key(0.01, source=MTT, gt=0, le=1e6)
    """Learning rate."""
    momentum: float = key(0.0, source=MTT, ge=0, lt=1)
    """Heavy-ball momentum."""
    weight_decay: float = key(0.0, source=MTT, ge=0, le=1e6)
    """Weight decay, added to the gradient."""


class LrDecay(Document):
    """One drop of the learning rate; momentum goes on."""

    epoch: int = key(source=MTT, ge=1, le=MOST)
    """Completed epochs before the drop."""
    factor: float = key(source=MTT, gt=0, le=1)
    """What the learning rate is multiplied by."""


class Experts(Document):
    """Networks trained on the real data; their trajectories are what is matched."""

    count: int = key(100, source=MTT, ge=1, le=100_000)
    """Number of experts."""
    epochs: int = key(50, source=MTT, ge=1, le=100_000)
    """Epochs of a whole trajectory."""
    batch_size: int = key(256, source=MTT, ge=1, le=MOST)
    """Real images per step; the last, smaller batch of an epoch is used too."""
    optimizer: Annotated[Sgd, BeforeValidator(by_name)] = key(Sgd(), source=MTT)
    """The optimiser and its settings."""
    lr_decay: LrDecay | None = key(None, source=MTT)
    """Drop of the learning rate; absent: none."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of the experts alone, so that a new seed of the run trains no expert again."""


class SgdTrajectory(Document):
    """Trajectories as the experts ran them."""

    type: Literal["sgd"] = key(source=MTT)
    """Trajectories as trained."""


class ConvexTrajectory(Document):
    """Trajectories replaced by the straight path between stored waypoints."""

    type: Literal["convex"] = key(source=MCT)
    """Convexified trajectories."""
    waypoints: Waypoints = key(2, source=MCT)
    """Stored models per expert: its initialisation and its end."""
    spacing: Spacing = key("path", source=MCT)
    """How far along the line an epoch lies: by the path length of the whole vector (the paper's
    one scalar) or of each parameter tensor (the public code)."""
    sampling: Sampling = key("continuous", source=MCT)
    """Start epochs are real numbers; between epochs the path is interpolated."""


class Real(Document):
    """Random real images of each class."""

    name: Literal["real"] = key(source=MTT)
    """`real`: random real images of each class; `noise`: standard normal pixels."""


class Noise(Document):
    """Standard normal noise in normalised pixels."""

    name: Literal["noise"] = key(source=MTT)
    """Standard normal noise in normalised pixels."""


class StudentLr(Document):
    """The student's learning rate, itself learned."""

    init: float = key(0.01, source=MTT, ge=1e-30, le=1e6)
    """Its first value."""
    lr: float = key(1e-5, source=MTT, ge=0, le=1e6)
    """Learning rate at which it is learned."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum with which it is learned."""


class Images(Document):
    """How the synthetic pixels are learned."""

    lr: float = key(1000.0, source=MTT, ge=0, le=1e12)
    """Learning rate of the pixels."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum of the pixels."""


class Synthetic(Document):
    """The synthetic set: what is distilled."""

    ipc: int = key(source=MTT, ge=1, le=1_000_000)
    """Images per class."""
    init: Annotated[Annotated[Real | Noise, Discriminator("name")], BeforeValidator(by_name)] = key(
        Real(name="real"), source=MTT
    )
    """What the synthetic images start from."""
    labels: LabelKind = key("hard", source=MTT)
    """One fixed class per image."""
    student_lr: StudentLr = key(StudentLr(), source=MTT)
    """The student's learning rate and how it is learned."""
    images: Images = key(Images(), source=MTT)
    """How the pixels are learned."""


class Matching(Document):
    """The matching schedule: the outer loop and the student inside it."""

    iterations: int = key(5000, source=MTT, ge=0, le=10_000_000)
    """Updates of the synthetic set. MTT's code runs one more than it is told."""
    syn_steps: int = key(20, source=MTT, ge=1, le=100_000)
    """Student steps on the synthetic set (N)."""
    expert_epochs: float = key(3.0, source=MTT, gt=0, le=MOST)
    """Expert epochs that the target lies ahead (M); whole unless the trajectory is convex."""
    min_start_epoch: int = key(0, source=MTT, ge=0, le=MOST)
    """First start epoch."""
    max_start_epoch: int = key(25, source=MTT, ge=1, le=MOST)
    """Start epochs are drawn below this one (exclusive, as in all public code)."""
    batch_syn: int | None = key(None, source=MTT, ge=1, le=MOST)
    """Synthetic images per student step; absent: all of them."""
    gradient: OuterGradient = key("exact", source=MTT)
    """The outer gradient through all student steps."""


class Evaluation(Document):
    """Fresh networks trained on the synthetic set and tested on the real test set."""

    protocol: Protocol = key("mtt", source=MTT)
    """Training recipe: SGD at the learned student_lr, momentum 0.9, weight decay 5e-4, batch
    256, augmented, rate times 0.1 after half of the epochs, tested once at the end."""
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
    choose: Choice = key("last", source=DDSPEC)
    """Which iterate is kept as the result: the last, or the literature's best on the test set."""


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
    name: str = key(source=DDSPEC, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Short name; run folders are called by it."""
    title: str = key("", source=DDSPEC, max_length=300)
    """One line that says what this is."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of initialisation, distillation and evaluation."""
    compute: Compute = Compute()
    dataset: Dataset
    network: ConvNet = ConvNet()
    augmentation: Augmentation = Augmentation()
    experts: Experts = Experts()
    trajectory: Annotated[
        Annotated[SgdTrajectory | ConvexTrajectory, Discriminator("type")],
        BeforeValidator(by_type),
    ] = SgdTrajectory(type="sgd")
    synthetic: Synthetic
    matching: Matching = Matching()
    evaluation: Evaluation = Evaluation()
    expect: Annotated[tuple[Expectation, ...], Tuple] = key((), source=DDSPEC)

    def iterates(self) -> tuple[int, ...]:
        """Iterations whose synthetic set is kept and evaluated."""
        last = self.matching.iterations
        return tuple(sorted({*range(0, last, self.evaluation.every), last}))

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
