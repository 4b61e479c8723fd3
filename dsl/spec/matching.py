"""The table [matching]: the outer loop, the student inside it, and what guards them."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import AST, DATM, DDSPEC, MOST, MTT, by_name, key
from ddspec.dsl.terms import (
    Denominator,
    GradientGuard,
    IntermediatePoints,
    IntermediateWeights,
    MatchedStep,
    OuterGradient,
    PerturbationScale,
)


class UniformStarts(Document):
    """Start epochs drawn uniformly from the whole range."""

    name: Literal["uniform"] = key(source=MTT)
    """`uniform` over [min_start_epoch, max_start_epoch); `near_previous`: only so many epochs
    around the previous start (AST, Fig. 11); `growing`: the upper bound rises (DATM)."""


class NearPrevious(Document):
    """Start epochs drawn around the previous one, within the range."""

    name: Literal["near_previous"] = key(source=AST)
    """Starts near the previous one."""
    reach: float = key(5.0, source=AST, reading=True, ge=1, le=MOST)
    """Epochs on either side."""


class GrowingStarts(Document):
    """An upper bound that grows to max_start_epoch: easy epochs first."""

    name: Literal["growing"] = key(source=DATM)
    """Starts below a growing bound."""
    first_bound: int = key(source=DATM, ge=1, le=MOST)
    """The bound in iteration 0 (exclusive)."""
    iterations: int = key(source=DATM, ge=1, le=MOST)
    """Iterations after which the bound is max_start_epoch."""


class BalancedInnerLoss(Document):
    """AST's balanced inner loss: the student's loss is weighted by its start epoch (Eq. 20)."""

    offset: float = key(8.0, source=AST, reading=True, gt=1, le=1e6)
    """Added to the distance from the middle before the logarithm."""
    log_base: float = key(5.0, source=AST, reading=True, gt=1, le=1e6)
    """Base of the logarithm; the paper names none, its public code has 5."""
    mid: float | None = key(None, source=AST, reading=True, ge=0, le=MOST)
    """Start epoch from which the weight is the logarithm and before which its inverse; absent:
    half of max_start_epoch, which the public code rounds down."""
    smooth: bool = key(False, source=AST, reading=True)
    """Shift the logarithm to be 1 at the middle, where the paper's weight jumps."""


class Intermediate(Document):
    """AST's intermediate matching: the student also meets the expert after whole epochs."""

    weights: IntermediateWeights = key("equal", source=AST, reading=True)
    """Weight of point i of M: 1 (`equal`), or i / M (`growing`); the final match has 1."""
    points: IntermediatePoints = key("floor", source=AST, reading=True)
    """After which student steps: floor(i N / M) (the paper), or i floor(N / M) (`multiples`, its
    public code)."""


class Perturbation(Document):
    """AST's weight perturbation: noise on the student's start (Eq. 23)."""

    rho: float = key(0.1, source=AST, reading=True, ge=0, le=1e6)
    """Size of the noise; the public code's is 1 with `elementwise`."""
    scale: PerturbationScale = key("filter", source=AST, reading=True)
    """Noise with the norm of each filter or row, in every tensor of two or more dimensions (the
    paper), or noise of norm 1 per convolution times the weights (`elementwise`, its code)."""
    denominator: Denominator = key("perturbed", source=AST, reading=True)
    """What the distance is measured in: from the perturbed start, or from the expert's own."""
    dropout: float = key(0.0, source=AST, reading=True, ge=0, lt=1)
    """Share of the perturbed weights that is then set to zero, the others being scaled up."""


class GradientLimit(Document):
    """What happens where the gradient by the images is too large."""

    norm: float = key(source=DDSPEC, gt=0, le=1e30)
    """Largest norm of the gradient by all synthetic images together."""
    action: GradientGuard = key("clip", source=DDSPEC)
    """Scale the images' gradient down to that norm, or skip the whole update."""


class Matching(Document):
    """The matching schedule: the outer loop and the student inside it."""

    iterations: int = key(5000, source=MTT, ge=0, le=10_000_000)
    """Updates of the synthetic set; 0 evaluates the initial set. MTT's code runs one more than it
    is told."""
    syn_steps: int = key(20, source=MTT, ge=1, le=100_000)
    """Student steps on the synthetic set (N)."""
    expert_epochs: float = key(3.0, source=MTT, ge=0.001, le=MOST)
    """Expert epochs that the target lies ahead (M); whole unless the trajectory is convex."""
    min_start_epoch: int = key(0, source=MTT, ge=0, le=MOST)
    """First start epoch."""
    max_start_epoch: int = key(25, source=MTT, ge=1, le=MOST)
    """Start epochs are drawn below this one (exclusive, as in all public code)."""
    start_range: Annotated[
        Annotated[UniformStarts | NearPrevious | GrowingStarts, Discriminator("name")],
        BeforeValidator(by_name),
    ] = key(UniformStarts(name="uniform"), source=MTT)
    """From which part of the range a start is drawn."""
    batch_syn: int | None = key(None, source=MTT, ge=1, le=MOST)
    """Synthetic images per student step; absent: all of them."""
    student_momentum: float = key(0.0, source=MTT, reading=True, ge=0, lt=1)
    """Heavy-ball momentum of the student; 0.9 in AST's public code, none in its paper."""
    gradient: OuterGradient = key("exact", source=MTT)
    """The outer gradient through all student steps (`exact`), or with the parameters of each step
    held constant, which drops the Hessian terms (`tesla`). Labels of experts are constants in
    both."""
    matched_step: MatchedStep = key("last", source=MTT)
    """Where the student is matched: after its last step, or after the step that came nearest to
    the target (`nearest`, ATT)."""
    balanced_inner_loss: BalancedInnerLoss | None = key(None, source=AST)
    """Weight of the inner loss by start epoch; absent: 1."""
    intermediate: Intermediate | None = key(None, source=AST)
    """Matching after each whole epoch of the window too; absent: at its end only."""
    perturbation: Perturbation | None = key(None, source=AST)
    """Noise on the student's start; absent: none."""
    loss_limit: float | None = key(None, source=DATM, gt=0, le=1e30)
    """An update whose matching loss exceeds this is skipped and counted; absent: none is."""
    gradient_limit: GradientLimit | None = key(None, source=DDSPEC)
    """Guard against exploding gradients; absent: none."""
