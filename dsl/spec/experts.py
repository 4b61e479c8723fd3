"""The table [experts]: how networks are trained on the real data, and how smoothly."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import (
    ADAM,
    AST,
    DDSPEC,
    EL2N,
    FTD,
    MOST,
    MTT,
    PAD,
    SEED_LIMIT,
    Tuple,
    by_name_or,
    key,
)
from ddspec.dsl.terms import PenaltyInput, PenaltyNorm, PenaltySides


class Sgd(Document):
    """Stochastic gradient descent as in torch.optim.SGD."""

    name: Literal["sgd"] = key("sgd", source=MTT)
    """`sgd`: as torch.optim.SGD; `adam`: as torch.optim.Adam; `gsam`: sharpness-aware,
    as in FTD."""
    lr: float = key(0.01, source=MTT, gt=0, le=1e6)
    """Learning rate; for `adam` the default is 0.001."""
    momentum: float = key(0.0, source=MTT, ge=0, lt=1)
    """Heavy-ball momentum."""
    weight_decay: float = key(0.0, source=MTT, ge=0, le=1e6)
    """Weight decay, added to the gradient."""


class Adam(Document):
    """Adam as in torch.optim.Adam; weight decay is added to the gradient."""

    name: Literal["adam"] = key(source=ADAM)
    """Adam, as torch.optim.Adam."""
    lr: float = key(0.001, source=ADAM, gt=0, le=1e6)
    """Learning rate."""
    beta1: float = key(0.9, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of gradients."""
    beta2: float = key(0.999, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    epsilon: float = key(1e-8, source=ADAM, gt=0, le=1)
    """Constant added to the denominator."""
    weight_decay: float = key(0.0, source=ADAM, ge=0, le=1e6)
    """Weight decay, added to the gradient."""


class Gsam(Document):
    """Sharpness-aware SGD with a surrogate gap (GSAM), as FTD trains its experts."""

    name: Literal["gsam"] = key(source=FTD)
    """Sharpness-aware SGD with a surrogate gap."""
    lr: float = key(0.01, source=FTD, gt=0, le=1e6)
    """Learning rate."""
    momentum: float = key(0.0, source=FTD, ge=0, lt=1)
    """Heavy-ball momentum."""
    weight_decay: float = key(0.0, source=FTD, ge=0, le=1e6)
    """Weight decay, added to the gradient."""
    rho: float = key(0.01, source=FTD, ge=0, le=1e3)
    """Size of the ascent step, which is adaptive: scaled by the squared parameters."""
    alpha: float = key(1.0, source=FTD, ge=0, le=1e3)
    """Weight of the part of the gradient before the ascent step that is orthogonal to
    the gradient after it."""


class LrDecay(Document):
    """One drop of the learning rate. Momentum is kept unless `restart` is true."""

    epoch: int = key(source=MTT, ge=1, le=MOST)
    """Number of epochs before the drop."""
    factor: float = key(source=MTT, gt=0, le=1)
    """Factor by which the learning rate is multiplied."""
    restart: bool = key(False, source=AST, reading=True)
    """Reset the optimiser's momentum at the drop, as AST's public code does."""


class ClippedLoss(Document):
    """AST's clipped loss: the loss has a weight below 1 in the first epochs."""

    start: float = key(0.5, source=AST, reading=True, ge=0, le=1)
    """Weight in epoch 0; it rises in equal steps and is 1 from epoch `epochs` on."""
    epochs: int = key(5, source=AST, reading=True, ge=1, le=MOST)
    """Number of epochs with a weight below 1: 5 in the paper, 10 in its public code."""


class GradientPenalty(Document):
    """AST's gradient penalty: it pulls the input gradient of the summed logits to a norm."""

    weight: float = key(1.0, source=AST, reading=True, ge=0, le=1e6)
    """Weight of the penalty in the loss: 1 in the paper, 2 in its public code."""
    target: float = key(1.0, source=AST, reading=True, ge=0, le=1e6)
    """Norm to which the penalty pulls the gradient."""
    norm: PenaltyNorm = key("sample", source=AST, reading=True)
    """Take the norm over the whole image (`sample`, the paper), or over the channels of
    each pixel (`pixel`, its public code)."""
    input: PenaltyInput = key("augmented", source=AST, reading=True)
    """Take the gradient at the batch that the network sees (`augmented`, the paper), or
    at that batch before augmentation (`clean`, its public code)."""
    sides: PenaltySides = key("both", source=AST, reading=True)
    """Penalise norms on both sides of the target (`both`), or only those above it (`above`)."""


class Smoothing(Document):
    """AST's measures for smooth expert trajectories; there are none by default."""

    clipped_loss: ClippedLoss | None = key(None, source=AST)
    """Lower weight of the loss in the first epochs. If absent, the weight is always 1."""
    gradient_penalty: GradientPenalty | None = key(None, source=AST)
    """Penalty on the gradient with respect to the input. If absent, there is none."""


class El2n(Document):
    """The error of a network early in training: the L2 norm of its softmax minus the label."""

    name: Literal["el2n"] = key(source=EL2N)
    """`el2n`: the L2 norm of softmax minus label, early in training."""
    networks: int = key(10, source=DDSPEC, ge=1, le=1000)
    """Networks over which the score of an image is averaged."""
    epochs: int = key(20, source=DDSPEC, ge=1, le=100_000)
    """Epochs that each of them is trained, on all images, as an expert is."""


EpochNumber = Annotated[int, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0, lt=1)]


class DataOrder(Document):
    """PAD's filter of what is extracted: experts see easy images first, hard ones at the end.

    It applies to the images of each class. Experts of another order are other experts.
    """

    score: Annotated[El2n, BeforeValidator(by_name_or("el2n"))] = key(El2n(name="el2n"), source=PAD)
    """Difficulty of an image, by which those of a class are ordered: `el2n`."""
    first_share: float = key(source=PAD, gt=0, le=1)
    """Share of each class that the first epoch has, its easiest images. It rises in equal
    steps."""
    all_from_epoch: int = key(source=PAD, ge=0, le=MOST)
    """Number of epochs before the first one with all images."""
    drop_from_epochs: Annotated[tuple[EpochNumber, ...], Tuple] = key((), source=PAD)
    """Numbers of epochs after which easy images are left out, in rising order."""
    drop_shares: Annotated[tuple[Share, ...], Tuple] = key((), source=PAD)
    """Share of each class, its easiest images, that is left out from each of these epochs on."""


class Experts(Document):
    """Networks trained on the real data, whose trajectories are matched."""

    count: int = key(100, source=MTT, ge=1, le=100_000)
    """Number of experts."""
    epochs: int = key(50, source=MTT, ge=1, le=100_000)
    """Epochs of a complete trajectory."""
    batch_size: int = key(256, source=MTT, ge=1, le=MOST)
    """Real images per step; the smaller last batch of an epoch is used too."""
    optimizer: Annotated[
        Annotated[Sgd | Adam | Gsam, Discriminator("name")], BeforeValidator(by_name_or("sgd"))
    ] = key(Sgd(), source=MTT)
    """The optimiser and its settings."""
    lr_decay: LrDecay | None = key(None, source=MTT)
    """Drop of the learning rate. If absent, there is none."""
    smoothing: Smoothing = Smoothing()
    data_order: DataOrder | None = key(None, source=PAD)
    """Which real images an epoch has. If absent, all of them."""
    imported: str | None = key(
        None,
        source=DDSPEC,
        pattern=r"^[0-9a-f]{32}$",
        pattern_words="32 hexadecimal digits, as `ddspec import` prints them",
    )
    """Name of experts that were trained elsewhere, as printed by `ddspec import`. Of
    this table, only `count` and `epochs` then have a meaning. If absent, experts are
    trained."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of the experts alone, so that a new seed of the run does not retrain them."""
