"""The table [matching] of objectives that compare real and synthetic images class by class."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import CAFE, DC, DDSPEC, DM, MOST, NCFM, Tuple, by_name, key
from ddspec.dsl.keys.extension import OWNED, OWNED_WORDS, ExtensionPart
from ddspec.dsl.spec.objectives.outer_loop import OuterLoop
from ddspec.dsl.terms import Features, GradientDistance


class StudentTraining(Document):
    """How the network of an iteration is trained on the synthetic set between pixel steps."""

    lr: float = key(0.01, source=DC, gt=0, le=1e6)
    """Learning rate of its SGD."""
    momentum: float = key(0.0, source=DC, ge=0, lt=1)
    """Momentum of its SGD."""
    batch_size: int = key(256, source=DC, ge=1, le=MOST)
    """Synthetic images per training step."""


class ClassMatching(OuterLoop):
    """Real and synthetic images of each class are compared by a network.

    Every iteration has a network of its own, with a fresh initialisation.
    """

    batch_real: int = key(256, source=DC, ge=1, le=MOST)
    """Random real images of each class in a comparison; all of them if a class has fewer."""


class GradientMatching(ClassMatching):
    """Gradients of the loss on real and on synthetic images are matched, class by class."""

    objective: Literal["gradient"] = key(source=DC)
    """Gradients by the network's parameters (DC, DSA)."""
    distance: GradientDistance = key("layerwise_cosine", source=DC, reading=True)
    """Distance of two gradients: 1 minus the cosine, summed over the rows of every
    tensor with two or more dimensions (`layerwise_cosine`); 1 minus the cosine of the
    whole gradients (`cosine`); their squared distance (`squared`)."""
    outer_steps: int = key(source=DC, ge=1, le=100_000)
    """Pixel steps per iteration; the network is trained between them. DC's public code
    has outer_steps and network_epochs by images per class: 1 and 1 for 1 image, 10 and
    50 for 10, 20 and 25 for 20, 30 and 20 for 30, 40 and 15 for 40, 50 and 10 for 50."""
    network_epochs: int = key(source=DC, ge=0, le=100_000)
    """Epochs that the network is trained on the synthetic set between two pixel steps."""
    student: StudentTraining = key(StudentTraining(), source=DC)
    """How the network is trained between pixel steps."""


class MeanStatistic(Document):
    """The mean of the features of a class."""

    name: Literal["mean"] = key(source=DM)
    """`mean`: squared distance of the class means of the features (DM);
    `characteristic`: distance of their characteristic functions (NCFM)."""


class CharacteristicStatistic(Document):
    """The characteristic function of the features of a class, at random frequencies.

    Features are scaled to length 1 first. The distance is the mean over frequencies of
    sqrt(a (|r| - |s|)^2 + 2 (1 - a) (|r| |s| - Re r Re s - Im r Im s)) with r and s the
    functions of real and synthetic features and a the weight `amplitude`.
    """

    name: Literal["characteristic"] = key(source=NCFM)
    """Characteristic functions."""
    frequencies: int = key(4096, source=NCFM, ge=1, le=1_000_000)
    """Frequencies, drawn from the standard normal distribution in every iteration."""
    amplitude: float = key(0.5, source=NCFM, ge=0, le=1)
    """Weight of the difference of amplitudes; the rest is that of phases."""


class DistributionMatching(ClassMatching):
    """Features of real and of synthetic images are matched in distribution, class by class."""

    objective: Literal["distribution"] = key(source=DM)
    """Distributions of features of networks that are never trained (DM)."""
    features: Features = key("penultimate", source=DM, reading=True)
    """Features that are compared: before the last layer (`penultimate`), or the logits."""
    statistic: Annotated[
        Annotated[MeanStatistic | CharacteristicStatistic, Discriminator("name")],
        BeforeValidator(by_name),
    ] = key(MeanStatistic(name="mean"), source=DM)
    """What is compared of two distributions."""


class DynamicSchedule(Document):
    """Pixel steps and network epochs are taken until the network's accuracy says enough.

    Accuracies are measured on random real images. Pixel steps go on until `window`
    accuracies lie within `pixel_tolerance`; then the network is trained until `window`
    accuracies spread over more than `network_tolerance`, and pixel steps begin again.
    """

    name: Literal["dynamic"] = key(source=CAFE)
    """`dynamic`: by the network's accuracy (CAFE); `fixed`: a number of each, as in DC."""
    window: int = key(10, source=CAFE, ge=2, le=1000)
    """Accuracies that are looked at; each phase takes at least as many steps."""
    pixel_tolerance: float = key(0.04, source=CAFE, gt=0, le=1)
    """The iteration ends when accuracies after pixel steps differ by less."""
    network_tolerance: float = key(0.03, source=CAFE, gt=0, le=1)
    """Training ends when accuracies after epochs differ by more."""
    query_per_class: int = key(128, source=CAFE, ge=1, le=MOST)
    """Random real images of each class for one accuracy."""
    carry_over: bool = key(False, source=CAFE)
    """Add to every accuracy the one before, divided by the number of classes. CAFE's
    public code does so, because it never resets its sum."""
    max_pixel_steps: int = key(200, source=DDSPEC, ge=1, le=100_000)
    """Most pixel steps of an iteration, and most between two phases of training; the
    public code has no bound. Reaching it ends the iteration and is counted."""
    max_network_epochs: int = key(200, source=DDSPEC, ge=1, le=100_000)
    """Most epochs of one phase of training; the public code has no bound. Reaching it
    ends the phase and is counted."""


class FixedSchedule(Document):
    """A number of pixel steps, with a number of network epochs between them."""

    name: Literal["fixed"] = key(source=DC)
    """A number of each."""
    outer_steps: int = key(source=DC, ge=1, le=100_000)
    """Pixel steps per iteration."""
    network_epochs: int = key(source=DC, ge=0, le=100_000)
    """Epochs that the network is trained between two pixel steps."""


class FeatureMatching(ClassMatching):
    """Class means of the features of every layer are matched, and classes told apart."""

    objective: Literal["feature"] = key(source=CAFE)
    """Features of all layers of a network (CAFE)."""
    layer_weights: Annotated[tuple[float, ...], Tuple] | None = key(None, source=CAFE, min_length=2)
    """Weight of the difference of class means at each layer, shallow to deep: the output
    of every block before its pooling, then the last pooling. If absent, 0.1 for all but
    the last two, which have 1."""
    embedding_weight: float = key(1.0, source=CAFE, ge=0, le=1e12)
    """Weight of the same difference at the flattened output of the last pooling, which
    the public code counts a second time."""
    discrimination: float = key(0.01, source=CAFE, ge=0, le=1e12)
    """Weight of the discrimination loss: the cross-entropy, summed over real images, of
    the products of their features with the class means of the synthetic images."""
    schedule: Annotated[
        Annotated[DynamicSchedule | FixedSchedule, Discriminator("name")], BeforeValidator(by_name)
    ] = key(DynamicSchedule(name="dynamic"), source=CAFE)
    """When the network is trained between pixel steps, and when an iteration ends."""
    student: StudentTraining = key(StudentTraining(), source=CAFE)
    """How the network is trained between pixel steps."""


class ExtensionMatching(ClassMatching, ExtensionPart):
    """Real and synthetic images of each class are compared as an extension does."""

    model_config = ConfigDict(extra="allow")

    objective: str = key(source=DDSPEC, pattern=rf"^{OWNED}$", pattern_words=OWNED_WORDS)
    """Owner and name of an objective of an extension, such as mylab/moments."""

    @property
    def part(self) -> str:
        """The part's name with its owner."""
        return self.objective
