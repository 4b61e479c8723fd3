"""The table [synthetic]: the synthetic set, its initialisation, and how it is learned."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import (
    ADAM,
    AST,
    CAFE,
    DATM,
    DC,
    DDSPEC,
    FREPO,
    FTD,
    IDC,
    LAMB,
    MOST,
    MTT,
    RAT_BPTT,
    TESLA,
    Tuple,
    by_name,
    by_name_or,
    key,
)
from ddspec.dsl.terms import Features, NeverLearned, RatePositivity

MOST_PARTITION = 16

Iteration = Annotated[int, Field(ge=1, le=MOST)]


class Real(Document):
    """Random real images of each class."""

    name: Literal["real"] = key(source=MTT)
    """`real`: random real images of each class; `noise`: standard normal pixels;
    `representative`: the real images nearest to k-means centres (AST); `correct`:
    random real images that experts classify correctly (DATM); `herding`, `k_center` and
    `forgetting`: coresets; `imported`: a synthetic set from elsewhere."""


class Noise(Document):
    """Standard normal noise, in normalised pixels."""

    name: Literal["noise"] = key(source=MTT)
    """Standard normal noise, in normalised pixels."""
    norm: float | None = key(None, source=RAT_BPTT, gt=0, le=1e6)
    """Euclidean norm to which each image is scaled: 1 in the public code of RaT-BPTT. If
    absent, the noise is as it is drawn."""


class Representative(Document):
    """Per class, the real images nearest to the k-means centres of an expert's features."""

    name: Literal["representative"] = key(source=AST)
    """Representative real images."""
    features: Features = key("penultimate", source=AST, reading=True)
    """Features of the trained expert: before its last layer (`penultimate`, the paper),
    or its logits (`logits`, the public code)."""
    clusters: int | None = key(None, source=AST, reading=True, ge=1, le=100_000)
    """Centres per class. If absent, as many as images per class, but at most 10. Every
    centre gets the same number of images; the remaining ones go to the largest
    clusters, one each."""
    expert: int = key(0, source=AST, ge=0, le=100_000)
    """Number of the expert, counted from 0, whose features after its last epoch are used."""


class Correct(Document):
    """Per class, random real images that experts classify correctly after their last epoch."""

    name: Literal["correct"] = key(source=DATM)
    """Correctly classified real images."""
    experts: int = key(1, source=DATM, ge=1, le=100_000)
    """Number of experts that may be asked, one after the other, until each class has
    enough images. They are trained to their last epoch."""


class Herding(Document):
    """Per class, real images whose running feature mean stays nearest to the class mean."""

    name: Literal["herding"] = key(source=DC)
    """Herding on expert 0's penultimate features."""


class KCenter(Document):
    """Per class, the image nearest to the mean, then always the farthest from those chosen."""

    name: Literal["k_center"] = key(source=DC)
    """K-center on expert 0's penultimate features."""


class Forgetting(Document):
    """Per class, the images that expert 0 forgets most often during its training."""

    name: Literal["forgetting"] = key(source=DC)
    """The images that are forgotten most often."""
    never_learned: NeverLearned = key("chosen", source=DC, reading=True)
    """Whether images that the expert never classifies correctly are `chosen` before all
    others, as by their authors (Toneva et al., arXiv:1812.05159), or `left_out` as long as
    there are others. No paper of dataset distillation states it."""


class Imported(Document):
    """A synthetic set that was made elsewhere, with its own labels."""

    name: Literal["imported"] = key(source=DDSPEC)
    """A synthetic set from elsewhere. A spec without [matching] evaluates it as it is."""
    set: str = key(
        source=DDSPEC,
        pattern=r"^[0-9a-f]{32}$",
        pattern_words="32 hexadecimal digits, as `ddspec import --synthetic` prints them",
    )
    """Name of the set, as printed by `ddspec import --synthetic`. If the set brings a
    learning rate, student_lr starts from it."""
    iteration: int = key(0, source=DDSPEC, ge=0, le=MOST)
    """Iteration of the run that made the set, if ddspec made it: networks then have the
    random numbers of that run, and its accuracies are met to the last bit."""


Init = Real | Noise | Representative | Correct | Herding | KCenter | Forgetting | Imported


class Hard(Document):
    """One fixed class per image."""

    name: Literal["hard"] = key(source=MTT)
    """`hard`: one fixed class per image; `expert`: soft labels by the matched expert,
    new in each iteration (TESLA); `learned`: soft labels learned together with the
    images (DATM); `unnormalized`: the same, as weights of the classes (RaT-BPTT);
    `regression`: learned targets of a regression (FRePo)."""


class ExpertLabels(Document):
    """The softmax of the target snapshot on the current images, new in each iteration.

    Before the first iteration, expert 0 labels the images as it is after its last
    epoch.
    """

    name: Literal["expert"] = key(source=TESLA)
    """Soft labels by the matched expert."""


class LearnedLabels(Document):
    """Logits learned together with the images, used through their softmax."""

    name: Literal["learned"] = key(source=DATM)
    """Learned soft labels."""
    lr: float = key(source=DATM, ge=0, le=1e12)
    """Learning rate of the logits; for `unnormalized` of the weights, for `regression` of the
    targets."""
    momentum: float = key(0.9, source=DATM, ge=0, lt=1)
    """Momentum of the logits' updates."""
    experts: int | None = key(None, source=DATM, reading=True, ge=1, le=100_000)
    """Number of experts that label the initial images after their last epoch, to which
    they are trained. An image's initial logits are the mean over the experts that
    classify it correctly, or over all of them if none does. If absent, all experts."""


class UnnormalizedLabels(Document):
    """Weights of the classes in the cross-entropy, learned together with the images.

    They begin as one-hot vectors, need not sum to one, and are kept from becoming negative. Their
    optimiser is that of the images.
    """

    name: Literal["unnormalized"] = key(source=RAT_BPTT)
    """Learned weights of the classes."""
    lr: float = key(source=RAT_BPTT, ge=0, le=1e12)
    """Learning rate of the weights: that of the images in the public code."""


class RegressionLabels(Document):
    """Targets of a regression, learned together with the images.

    They begin as one-hot vectors less 1/k, divided by sqrt(k/10), for k classes. Their optimiser
    is that of the images.
    """

    name: Literal["regression"] = key(source=FREPO)
    """Learned targets of a regression."""
    lr: float = key(source=FREPO, ge=0, le=1e12)
    """Learning rate of the targets; 0 keeps them as they begin."""


ProbabilityLabels = ExpertLabels | LearnedLabels
"""Soft labels that are probabilities of the classes, and begin as those of trained experts."""

Labels = Hard | ExpertLabels | LearnedLabels | UnnormalizedLabels | RegressionLabels


class StudentLr(Document):
    """The student's learning rate, which is learned as well."""

    init: float = key(0.01, source=MTT, ge=1e-30, le=1e6)
    """Initial value of the student's learning rate."""
    lr: float = key(1e-5, source=MTT, ge=0, le=1e6)
    """Learning rate of its updates."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum of its updates."""
    positivity: RatePositivity = key("stop", source=DDSPEC)
    """What happens if an update would make it zero or negative: `stop` ends the run
    with that outcome, `hold` keeps the value and resets its momentum, `free` allows it,
    as the public code does."""


class SgdImages(Document):
    """Stochastic gradient descent with momentum, as in torch.optim.SGD."""

    name: Literal["sgd"] = key(source=MTT)
    """`sgd`: with synthetic.images.momentum; `adam`: as torch.optim.Adam; `lamb`: Adam whose
    steps are as long as the images, times the learning rate."""


class AdamImages(Document):
    """Adam as in torch.optim.Adam, without weight decay."""

    name: Literal["adam"] = key(source=ADAM)
    """Adam."""
    beta1: float = key(0.9, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of gradients."""
    beta2: float = key(0.999, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    epsilon: float = key(1e-8, source=ADAM, gt=0, le=1)
    """Constant added to the denominator."""


class LambImages(Document):
    """LAMB without weight decay: Adam's step, scaled to the norm of all images."""

    name: Literal["lamb"] = key(source=LAMB)
    """LAMB."""
    beta1: float = key(0.9, source=LAMB, ge=0, lt=1)
    """Decay of the running mean of gradients."""
    beta2: float = key(0.999, source=LAMB, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    epsilon: float = key(1e-6, source=LAMB, gt=0, le=1)
    """Constant added to the denominator."""


class LrDrops(Document):
    """Drops of the pixels' learning rate; the optimiser's memory is kept."""

    name: Literal["drops"] = key("drops", source=CAFE)
    """`drops`: by a factor after some iterations; `cosine`: along half a cosine (FRePo)."""
    iterations: Annotated[tuple[Iteration, ...], Tuple] = key(source=CAFE, min_length=1)
    """Numbers of iterations after which the learning rate drops, in rising order; for `cosine` a
    single number, after which the learning rate has fallen."""
    factor: float = key(source=CAFE, gt=0, le=1)
    """Factor by which the learning rate is multiplied at each drop."""


class CosineDecay(Document):
    """A learning rate that falls along half a cosine, and then stays."""

    name: Literal["cosine"] = key(source=FREPO)
    """Half a cosine."""
    iterations: Iteration = key(source=FREPO)
    """Iterations until the learning rate has fallen; all of a run in the public code. A run that
    is made longer keeps the images that it has."""
    final: float = key(0.1, source=FREPO, ge=0, le=1)
    """Share of the learning rate that is left then."""


class Images(Document):
    """How the synthetic pixels are learned."""

    optimizer: Annotated[
        Annotated[SgdImages | AdamImages | LambImages, Discriminator("name")],
        BeforeValidator(by_name),
    ] = key(SgdImages(name="sgd"), source=MTT)
    """Optimiser of the pixels."""

    lr: float = key(1000.0, source=MTT, ge=0, le=1e12)
    """Learning rate of the pixels."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum of the pixels' updates by `sgd`."""
    lr_decay: (
        Annotated[
            Annotated[LrDrops | CosineDecay, Discriminator("name")],
            BeforeValidator(by_name_or("drops")),
        ]
        | None
    ) = key(None, source=CAFE)
    """How the learning rate falls. If absent, it stays."""
    moving_average: float | None = key(None, source=FTD, gt=0, lt=1)
    """Decay of an exponential moving average of the images. The average is then
    evaluated and exported, with the current labels and learning rate. If absent, the
    images themselves are."""


class Synthetic(Document):
    """The synthetic set, which distillation learns."""

    ipc: int = key(source=MTT, ge=1, le=1_000_000)
    """Images per class."""
    partition: int = key(1, source=IDC, ge=1, le=MOST_PARTITION)
    """Factor f: each image holds f x f small ones of its class, which networks see enlarged
    to the full size. The number of stored pixels stays that of `ipc` images; networks are
    trained on f x f times as many. 2 in the public code of IDC and NCFM."""
    init: Annotated[Annotated[Init, Discriminator("name")], BeforeValidator(by_name)] = key(
        Real(name="real"), source=MTT
    )
    """Initial synthetic images."""
    labels: Annotated[Annotated[Labels, Discriminator("name")], BeforeValidator(by_name)] = key(
        Hard(name="hard"), source=MTT
    )
    """Labels of the synthetic images, which students and evaluation networks are taught."""
    student_lr: StudentLr = key(StudentLr(), source=MTT)
    """The student's learning rate and how it is learned."""
    images: Images = key(Images(), source=MTT)
    """How the pixels are learned."""

    @property
    def seen_ipc(self) -> int:
        """Images per class that networks are trained on."""
        return self.ipc * self.partition**2
