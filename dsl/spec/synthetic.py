"""The table [synthetic]: what is distilled, what it starts from, and how it is learned."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import AST, CORESETS, DATM, DDSPEC, FTD, MTT, TESLA, by_name, key
from ddspec.dsl.terms import Features, RatePositivity


class Real(Document):
    """Random real images of each class."""

    name: Literal["real"] = key(source=MTT)
    """`real`: random real images of each class; `noise`: standard normal pixels;
    `representative`: real images nearest to k-means centres (AST); `correct`: random real images
    that experts classify correctly (DATM); `herding`, `k_center`, `forgetting`: coresets."""


class Noise(Document):
    """Standard normal noise in normalised pixels."""

    name: Literal["noise"] = key(source=MTT)
    """Standard normal noise in normalised pixels."""


class Representative(Document):
    """Per class, k-means on an expert's features; the real images nearest to the centres."""

    name: Literal["representative"] = key(source=AST)
    """Representative real images."""
    features: Features = key("penultimate", source=AST, reading=True)
    """Of the trained expert: before its last layer (the paper), or its logits (the public code)."""
    clusters: int | None = key(None, source=AST, reading=True, ge=1, le=100_000)
    """Centres per class; absent: as many as images, at most 10. Each centre is given equally many
    images, and what is left over one more from the largest cluster on."""
    expert: int = key(0, source=AST, ge=0, le=100_000)
    """The expert, at its last epoch, whose features are used."""


class Correct(Document):
    """Random real images of each class that experts classify correctly at their last epoch."""

    name: Literal["correct"] = key(source=DATM)
    """Correctly classified real images."""
    experts: int = key(1, source=DATM, ge=1, le=100_000)
    """Experts asked, one after the other until a class has enough images; they are trained to
    their last epoch."""


class Herding(Document):
    """Per class, real images whose running mean of features stays nearest to the class mean."""

    name: Literal["herding"] = key(source=CORESETS)
    """Herding on expert 0's penultimate features."""


class KCenter(Document):
    """Per class, the image nearest to the mean, then always the one farthest from all chosen."""

    name: Literal["k_center"] = key(source=CORESETS)
    """K-center on expert 0's penultimate features."""


class Forgetting(Document):
    """Per class, the images that expert 0 forgets most often along its trajectory."""

    name: Literal["forgetting"] = key(source=CORESETS)
    """Most often forgotten images."""


Init = Real | Noise | Representative | Correct | Herding | KCenter | Forgetting


class Hard(Document):
    """One fixed class per image."""

    name: Literal["hard"] = key(source=MTT)
    """`hard`: one fixed class per image; `expert`: soft labels of the matched expert, renewed in
    each iteration (TESLA); `learned`: soft labels learned beside the images (DATM)."""


class ExpertLabels(Document):
    """The target snapshot's softmax on the images as they stand, anew in each iteration.

    Before the first iteration it is expert 0 at its last epoch that labels the images.
    """

    name: Literal["expert"] = key(source=TESLA)
    """Soft labels of the matched expert."""


class LearnedLabels(Document):
    """Logits learned beside the images, used through their softmax."""

    name: Literal["learned"] = key(source=DATM)
    """Learned soft labels."""
    lr: float = key(source=DATM, ge=0, le=1e12)
    """Learning rate of the logits."""
    momentum: float = key(0.9, source=DATM, ge=0, lt=1)
    """Momentum of the logits."""
    experts: int | None = key(None, source=DATM, reading=True, ge=1, le=100_000)
    """Experts, at their last epoch, whose logits on the first images are where learning begins:
    the mean over those that classify the image correctly, or over all where none does. Absent: all
    experts; they are trained to their last epoch."""


Labels = Hard | ExpertLabels | LearnedLabels


class StudentLr(Document):
    """The student's learning rate, itself learned."""

    init: float = key(0.01, source=MTT, ge=1e-30, le=1e6)
    """Its first value."""
    lr: float = key(1e-5, source=MTT, ge=0, le=1e6)
    """Learning rate at which it is learned."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum with which it is learned."""
    positivity: RatePositivity = key("stop", source=DDSPEC)
    """Where an update would make it zero or negative: `stop` ends the run with that outcome,
    `hold` keeps the value and forgets its momentum, `free` lets it pass, as the public code."""


class Images(Document):
    """How the synthetic pixels are learned."""

    lr: float = key(1000.0, source=MTT, ge=0, le=1e12)
    """Learning rate of the pixels."""
    momentum: float = key(0.5, source=MTT, ge=0, lt=1)
    """Momentum of the pixels."""
    moving_average: float | None = key(None, source=FTD, gt=0, lt=1)
    """Decay of an exponential moving average of the images, which is then what is evaluated and
    exported, with the labels and the rate as they are; absent: the images themselves."""


class Synthetic(Document):
    """The synthetic set: what is distilled."""

    ipc: int = key(source=MTT, ge=1, le=1_000_000)
    """Images per class."""
    init: Annotated[Annotated[Init, Discriminator("name")], BeforeValidator(by_name)] = key(
        Real(name="real"), source=MTT
    )
    """What the synthetic images start from."""
    labels: Annotated[Annotated[Labels, Discriminator("name")], BeforeValidator(by_name)] = key(
        Hard(name="hard"), source=MTT
    )
    """What the student and evaluation networks are taught about each image."""
    student_lr: StudentLr = key(StudentLr(), source=MTT)
    """The student's learning rate and how it is learned."""
    images: Images = key(Images(), source=MTT)
    """How the pixels are learned."""
