"""The table [experts]: how networks are trained on the real data, and how that is smoothed."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import ADAM, AST, DDSPEC, FTD, MOST, MTT, SEED_LIMIT, by_name_or, key
from ddspec.dsl.terms import PenaltyInput, PenaltyNorm, PenaltySides


class Sgd(Document):
    """Stochastic gradient descent as in torch.optim.SGD."""

    name: Literal["sgd"] = key("sgd", source=MTT)
    """`sgd`; `adam`, as torch.optim.Adam; `gsam`, sharpness-aware (FTD)."""
    lr: float = key(0.01, source=MTT, gt=0, le=1e6)
    """Learning rate; for `adam` 0.001 where left out."""
    momentum: float = key(0.0, source=MTT, ge=0, lt=1)
    """Heavy-ball momentum."""
    weight_decay: float = key(0.0, source=MTT, ge=0, le=1e6)
    """Weight decay, added to the gradient."""


class Adam(Document):
    """Adam as in torch.optim.Adam; weight decay is added to the gradient."""

    name: Literal["adam"] = key(source=ADAM)
    """The optimiser."""
    lr: float = key(0.001, source=ADAM, gt=0, le=1e6)
    """Learning rate."""
    beta1: float = key(0.9, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of gradients."""
    beta2: float = key(0.999, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    epsilon: float = key(1e-8, source=ADAM, gt=0, le=1)
    """Added to the denominator."""
    weight_decay: float = key(0.0, source=ADAM, ge=0, le=1e6)
    """Weight decay, added to the gradient."""


class Gsam(Document):
    """Sharpness-aware descent with a surrogate gap (GSAM) over SGD, as FTD trains its experts."""

    name: Literal["gsam"] = key(source=FTD)
    """The optimiser."""
    lr: float = key(0.01, source=FTD, gt=0, le=1e6)
    """Learning rate."""
    momentum: float = key(0.0, source=FTD, ge=0, lt=1)
    """Heavy-ball momentum."""
    weight_decay: float = key(0.0, source=FTD, ge=0, le=1e6)
    """Weight decay, added to the gradient."""
    rho: float = key(0.01, source=FTD, ge=0, le=1e3)
    """Size of the ascent, scaled by the squared parameters (adaptive)."""
    alpha: float = key(1.0, source=FTD, ge=0, le=1e3)
    """Weight of the clean gradient's part that is orthogonal to the gradient after the ascent."""


class LrDecay(Document):
    """One drop of the learning rate; momentum goes on unless it is told to begin anew."""

    epoch: int = key(source=MTT, ge=1, le=MOST)
    """Completed epochs before the drop."""
    factor: float = key(source=MTT, gt=0, le=1)
    """What the learning rate is multiplied by."""
    restart: bool = key(False, source=AST, reading=True)
    """Whether the optimiser's memory begins anew at the drop, as in AST's public code."""


class ClippedLoss(Document):
    """AST's clipped loss: the loss is weighted by less than one in the first epochs."""

    start: float = key(0.5, source=AST, reading=True, ge=0, le=1)
    """Weight in epoch 0; it rises by equal steps and is 1 from epoch `epochs` on."""
    epochs: int = key(5, source=AST, reading=True, ge=1, le=MOST)
    """Epochs with a weight below 1: 5 in the paper, 10 in its public code."""


class GradientPenalty(Document):
    """AST's gradient penalty: the summed logits' gradient by the input is drawn to a norm."""

    weight: float = key(1.0, source=AST, reading=True, ge=0, le=1e6)
    """Weight of the penalty beside the loss: 1 in the paper, 2 in its public code."""
    target: float = key(1.0, source=AST, reading=True, ge=0, le=1e6)
    """The norm that is aimed at."""
    norm: PenaltyNorm = key("sample", source=AST, reading=True)
    """Of the whole image (the paper), or of each pixel's channels (its public code)."""
    input: PenaltyInput = key("augmented", source=AST, reading=True)
    """Where the gradient is taken: the batch that the network sees (the paper), or that batch
    before augmentation (its public code)."""
    sides: PenaltySides = key("both", source=AST, reading=True)
    """Whether norms below the target are penalised too, or only those above it."""


class Smoothing(Document):
    """What makes experts smooth (AST); absent: nothing."""

    clipped_loss: ClippedLoss | None = key(None, source=AST)
    """A lower weight of the loss in the first epochs; absent: none."""
    gradient_penalty: GradientPenalty | None = key(None, source=AST)
    """A penalty on the gradient by the input; absent: none."""


class Experts(Document):
    """Networks trained on the real data; their trajectories are what is matched."""

    count: int = key(100, source=MTT, ge=1, le=100_000)
    """Number of experts."""
    epochs: int = key(50, source=MTT, ge=1, le=100_000)
    """Epochs of a whole trajectory."""
    batch_size: int = key(256, source=MTT, ge=1, le=MOST)
    """Real images per step; the last, smaller batch of an epoch is used too."""
    optimizer: Annotated[
        Annotated[Sgd | Adam | Gsam, Discriminator("name")], BeforeValidator(by_name_or("sgd"))
    ] = key(Sgd(), source=MTT)
    """The optimiser and its settings."""
    lr_decay: LrDecay | None = key(None, source=MTT)
    """Drop of the learning rate; absent: none."""
    smoothing: Smoothing = Smoothing()
    imported: str | None = key(None, source=DDSPEC, pattern=r"^[0-9a-f]{32}$")
    """Name of experts that were trained elsewhere, as `ddspec import` gives it; absent: none.
    Nothing else of this table but `count` and `epochs` then has a meaning."""
    seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of the experts alone, so that a new seed of the run trains no expert again."""
