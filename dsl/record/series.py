"""The series of the outer loop: one number per iteration each."""

from enum import IntEnum
from typing import Annotated

from pydantic import Field, Strict, model_validator

from ddspec.dsl.document import Document
from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching

Number = Annotated[float, Field(ge=-1e100, le=1e100)]
"""A measured number.

Runs compute in float32, whose squares stay below 1e77; what is greater is damage, and axes cannot
show it."""
Numbers = Annotated[tuple[Number, ...], Strict(False)]
WholeNumbers = Annotated[tuple[int, ...], Strict(False)]


class Guarded(IntEnum):
    """What the loss and gradient limits of [matching] did to an update."""

    APPLIED = 0
    CLIPPED = 1
    SKIPPED = 2


class Series(Document):
    """The outer loop, iteration by iteration; means over the updates of an iteration.

    All are of equal length, but for those that the objective does not have, which are empty.
    """

    matching_loss: Numbers
    """Distance that the objective reduces, before the update.

    In trajectory matching at the target, without what intermediate matching adds."""
    intermediate_loss: Numbers
    """Sum over the intermediate points; 0 if there are none."""
    student_lr: Numbers
    """After the update."""
    gradient_norm: Numbers
    """Norm of the gradient by the synthetic images.

    It is 0 if the update was skipped for its loss, before a gradient was taken."""
    start_epoch: Numbers
    expert: WholeNumbers
    inner_loss: Numbers
    """Mean cross-entropy over the student's steps up to the match, without its weight."""
    inner_weight: Numbers
    """Weight of the inner loss (nu of AST's Eq. 20); 1 where it is not balanced."""
    matched_step: WholeNumbers
    """Student step at which the target was matched."""
    guarded: WholeNumbers
    """What the limits of [matching] did to the update: a value of `Guarded`."""
    rate_held: WholeNumbers
    """1 if student_lr was held back from becoming zero or negative."""
    pixel_steps: WholeNumbers = ()
    """Updates of the synthetic set in an iteration, where a schedule decides."""
    network_epochs: WholeNumbers = ()
    """Epochs for which the network of the iteration was trained, where a schedule decides."""
    free_steps: WholeNumbers = ()
    """Steps of the student before those through which the gradient runs."""
    label_margin: Numbers = ()
    """Mean distance of the largest entry of a label from the second, at most 1 / classes."""
    kernel_accuracy: Numbers = ()
    """Share of the iteration's real images that the ridge regression classifies, in percent."""
    pool_age: WholeNumbers = ()
    """Age of the network that the iteration used, after it."""
    phases_at_bound: WholeNumbers = ()
    """Phases of a dynamic schedule that ended at their bound: of pixel steps or of training."""

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the series that the objective has; all if there were no iterations."""
        return tuple(
            name
            for name in type(self).model_fields
            if name not in OBJECTIVE_SERIES or not self.matching_loss or getattr(self, name)
        )

    @model_validator(mode="after")
    def of_equal_length(self) -> "Series":
        """Check that each series has one number per iteration, or is not the objective's."""
        lengths = {name: len(getattr(self, name)) for name in type(self).model_fields}
        iterations = lengths["matching_loss"]
        for name, length in lengths.items():
            optional = name in OBJECTIVE_SERIES
            if length != iterations and not (optional and length == 0):
                raise ValueError(f"series are of unequal length: {lengths}")
        return self


SERIES = tuple(Series.model_fields)
"""Names of the series, in the order in which the record holds them."""

OBJECTIVE_SERIES = (
    "intermediate_loss",
    "student_lr",
    "rate_held",
    "pixel_steps",
    "network_epochs",
    "free_steps",
    "label_margin",
    "kernel_accuracy",
    "pool_age",
    "phases_at_bound",
    "start_epoch",
    "expert",
    "inner_loss",
    "inner_weight",
    "matched_step",
)
"""Names of those that only some objectives have."""

COUNTED_SERIES = (
    "expert",
    "matched_step",
    "guarded",
    "rate_held",
    "pixel_steps",
    "network_epochs",
    "free_steps",
    "pool_age",
    "phases_at_bound",
)
"""Names of those that hold whole numbers."""


SERIES_WORDS = {
    **{name: name.replace("_", " ") for name in Series.model_fields},
    "student_lr": "learned student_lr",
    "start_epoch": "drawn start epoch",
    "expert": "drawn expert",
    "matched_step": "matched student step",
    "guarded": "effect of the limits on the update",
    "rate_held": "whether student_lr was held above zero",
}
"""What each series is, for readers."""


def unused_series(step: DistillStep) -> set[str]:
    """Return the names of the series that stand still, because the spec does not use them."""
    matching = step.matching
    unused = set()
    if matching.loss_limit is None and matching.gradient_limit is None:
        unused.add("guarded")
    if step.synthetic.student_lr.positivity != "hold":
        unused.add("rate_held")
    if isinstance(matching, TrajectoryMatching):
        used = {
            "intermediate_loss": matching.intermediate is not None,
            "inner_weight": matching.balanced_inner_loss is not None,
            "matched_step": matching.matched_step == "nearest",
        }
        unused |= {name for name, is_used in used.items() if not is_used}
    return unused
