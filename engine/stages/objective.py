"""What the outer loop asks of an objective: a loss, a gradient, and what to carry on.

The loop owns limits, optimisers and checkpoints. An objective says, for a state, how far the
synthetic set is from its goal and in which direction it improves.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ddspec.engine.stages.distill_state import DistillState


@dataclass(frozen=True)
class ObjectiveGradient:
    """The gradient of an objective's loss by everything that is learned."""

    by_images: Tensor
    """(n, c, h, w)."""
    by_label_logits: Tensor | None = None
    """(n, classes); None unless labels are learned."""
    by_student_lr: Tensor | None = None
    """None if the objective has no learned student_lr."""


@dataclass(frozen=True)
class Measurement:
    """An objective at one state, before its gradient is taken."""

    loss: float
    """The value that `matching.loss_limit` bounds."""
    figures: dict[str, float]
    """The objective's series for this iteration, the loss among them."""
    labels: Tensor
    """The labels that were taught: classes (n,), or probabilities (n, classes)."""
    carried: dict[str, float]
    """What the objective needs in the next iteration."""
    gradient: Callable[[], ObjectiveGradient]
    """Takes the gradient, which costs about as much as measuring."""


Objective = Callable[[DistillState], Measurement]
"""Measures a state; a function of the state and the step's settings alone."""
