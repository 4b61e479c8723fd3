"""The table [matching] of trajectory matching."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import AST, DATM, MOST, MTT, PAD, by_name, key
from ddspec.dsl.keys.extension import EXTENSION, LANGUAGE_ITSELF, ExtensionLoss, kind_of_part
from ddspec.dsl.spec.objectives.outer_loop import OuterLoop
from ddspec.dsl.terms import (
    Denominator,
    IntermediatePoints,
    IntermediateWeights,
    MatchedStep,
    OuterGradient,
    ParameterOrder,
    PerturbationScale,
)


class UniformStarts(Document):
    """Start epochs drawn uniformly from the whole range."""

    name: Literal["uniform"] = key(source=MTT)
    """`uniform`: anywhere in [min_start_epoch, max_start_epoch); `near_previous`: only
    within some epochs of the previous start (AST, Fig. 11); `growing`: below a rising
    bound (DATM)."""


class NearPrevious(Document):
    """Start epochs, each drawn near the one before, within the range."""

    name: Literal["near_previous"] = key(source=AST)
    """Start epochs near the previous one."""
    reach: float = key(5.0, source=AST, reading=True, ge=1, le=MOST)
    """Largest distance from the previous start epoch, on either side."""


class GrowingStarts(Document):
    """Start epochs drawn below a bound that rises to max_start_epoch: easy epochs first."""

    name: Literal["growing"] = key(source=DATM)
    """Start epochs below a rising bound."""
    first_bound: int = key(source=DATM, ge=1, le=MOST)
    """Bound in iteration 0 (exclusive)."""
    iterations: int = key(source=DATM, ge=1, le=MOST)
    """Number of iterations until the bound is max_start_epoch."""


class BalancedInnerLoss(Document):
    """AST's balanced inner loss: the student's loss is weighted by its start epoch (Eq. 20)."""

    offset: float = key(8.0, source=AST, reading=True, gt=1, le=1e6)
    """Number added to the distance from the middle epoch, before the logarithm is taken."""
    log_base: float = key(5.0, source=AST, reading=True, gt=1, le=1e6)
    """Base of the logarithm. The paper does not name it; its public code uses 5."""
    mid: float | None = key(None, source=AST, reading=True, ge=0, le=MOST)
    """Middle epoch. The weight is the logarithm for starts from this epoch on, and its
    reciprocal for earlier ones. If absent, half of max_start_epoch, which the public
    code rounds down."""
    smooth: bool = key(False, source=AST, reading=True)
    """Shift the logarithm so that it is 1 at the middle epoch, where the paper's weight jumps."""


class Intermediate(Document):
    """AST's intermediate matching: the student also matches the expert between the ends."""

    weights: IntermediateWeights = key("equal", source=AST, reading=True)
    """Weight of the match after epoch i of M: 1 (`equal`), or i / M (`growing`). The
    final match always has weight 1."""
    points: IntermediatePoints = key("floor", source=AST, reading=True)
    """Student step that matches epoch i of M: floor(i N / M) (`floor`, the paper), or
    i floor(N / M) (`multiples`, its public code)."""


class Perturbation(Document):
    """AST's weight perturbation: noise on the student's initial parameters (Eq. 23)."""

    rho: float = key(0.1, source=AST, reading=True, ge=0, le=1e6)
    """Size of the noise. The public code uses 1, with `elementwise`."""
    scale: PerturbationScale = key("filter", source=AST, reading=True)
    """`filter`: noise with the norm of each filter or row, in every tensor of two or
    more dimensions (the paper). `elementwise`: noise of norm 1 per convolution,
    multiplied by the weights (its public code)."""
    denominator: Denominator = key("perturbed", source=AST, reading=True)
    """Start from which the expert's distance to the target is measured, the denominator
    of the matching loss: the perturbed one (`perturbed`) or the expert's own
    (`expert`)."""
    dropout: float = key(0.0, source=AST, reading=True, ge=0, lt=1)
    """Share of the perturbed weights that is then set to zero; the others are scaled up."""


class MatchedParameters(Document):
    """PAD's filter of what is embedded: a share of the parameters is not matched."""

    drop: float = key(source=PAD, ge=0, lt=1)
    """Share of the entries of the flat parameter vector that the matching loss leaves out, in
    numerator and denominator; rounded down to whole entries."""
    by: ParameterOrder = key("depth", source=PAD, reading=True)
    """`depth`: leave out the first entries, which belong to the shallow layers (the paper).
    `error`: leave out those in which the student is nearest to its target, chosen anew in
    each iteration (compared in the paper, and in its public code)."""


class NormalizedL2(Document):
    """The squared distance, relative to the distance that the expert travelled."""

    name: Literal["normalized_l2"] = key(source=MTT)
    """`normalized_l2`: squared, relative to the distance that the expert travelled."""


class TrajectoryMatching(OuterLoop):
    """A student trained on the synthetic set is matched with a trajectory of an expert."""

    objective: Literal["trajectory"] = key("trajectory", source=MTT)
    """What is matched in each iteration: the trajectories of experts (`trajectory`; MTT,
    AST, MCT and others); gradients of the loss on real and synthetic images (`gradient`;
    DC, DSA); features in distribution (`distribution`; DM); class means of the features
    of every layer (`feature`; CAFE). Or nothing is matched, and the loss of a trained
    student on real images is reduced itself (`performance`; RaT-BPTT), or that of a ridge
    regression on features (`kernel`; FRePo)."""
    loss: Annotated[
        Annotated[
            Annotated[NormalizedL2, Tag(LANGUAGE_ITSELF)]
            | Annotated[ExtensionLoss, Tag(EXTENSION)],
            Discriminator(kind_of_part("name")),
        ],
        BeforeValidator(by_name),
    ] = key(NormalizedL2(name="normalized_l2"), source=MTT)
    """Distance of the student to its target: squared, relative to the distance that the
    expert travelled (`normalized_l2`), or one of an installed extension, such as
    `mylab/lp`."""
    parameters: MatchedParameters | None = key(None, source=PAD)
    """Part of the parameters that the loss compares. If absent, all of them."""
    syn_steps: int = key(20, source=MTT, ge=1, le=100_000)
    """Student steps on the synthetic set (N)."""
    expert_epochs: float = key(3.0, source=MTT, ge=0.001, le=MOST)
    """Expert epochs from start to target (M); a whole number if the trajectory is `sgd`."""
    min_start_epoch: int = key(0, source=MTT, ge=0, le=MOST)
    """Earliest start epoch."""
    max_start_epoch: int = key(25, source=MTT, ge=1, le=MOST)
    """Start epochs are drawn below this one (exclusive, as in all public code)."""
    start_range: Annotated[
        Annotated[UniformStarts | NearPrevious | GrowingStarts, Discriminator("name")],
        BeforeValidator(by_name),
    ] = key(UniformStarts(name="uniform"), source=MTT)
    """Part of that range from which start epochs are drawn."""
    batch_syn: int | None = key(None, source=MTT, ge=1, le=MOST)
    """Synthetic images per student step. If absent, all of them."""
    student_momentum: float = key(0.0, source=MTT, reading=True, ge=0, lt=1)
    """Heavy-ball momentum of the student: 0.9 in AST's public code, none in its paper."""
    gradient: OuterGradient = key("exact", source=MTT)
    """Outer gradient: through all student steps (`exact`), or with the parameters of
    each step held constant, which drops the Hessian terms (`tesla`). Labels from
    experts are constants in both."""
    matched_step: MatchedStep = key("last", source=MTT)
    """Student step that is matched with the target: the last one (`last`), or the one
    that came nearest to the target (`nearest`, ATT)."""
    balanced_inner_loss: BalancedInnerLoss | None = key(None, source=AST)
    """Weight of the inner loss by start epoch. If absent, the weight is 1."""
    intermediate: Intermediate | None = key(None, source=AST)
    """Matching after each whole epoch of the window too. If absent, only at its end."""
    perturbation: Perturbation | None = key(None, source=AST)
    """Noise on the student's initial parameters. If absent, there is none."""

    @property
    def last_epoch(self) -> int:
        """Last epoch that a window can reach on a trajectory of snapshots."""
        return self.max_start_epoch - 1 + int(self.expert_epochs)
