"""What the outer loop asks of an objective: one iteration, told as updates of the synthetic set.

The loop owns limits, optimisers and checkpoints. An objective says, for a state, how far the
synthetic set is from its goal and in which direction it improves, once or several times in an
iteration.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ddspec.engine.stages.distill_state import DistillState


@dataclass(frozen=True)
class ObjectiveGradient:
    """The gradient of an objective's loss by everything that is learned."""

    by_images: Tensor
    """(n, c, h, w)."""
    by_labels: Tensor | None = None
    """By what is learned of them (n, classes), such as logits; None unless labels are learned."""
    by_student_lr: Tensor | None = None
    """None if the objective has no learned student_lr."""


@dataclass(frozen=True)
class Measurement:
    """An objective at one state, before its gradient is taken."""

    loss: float
    """The value that `matching.loss_limit` bounds."""
    figures: dict[str, float]
    """The objective's series, the loss among them; an iteration has their means."""
    labels: Tensor
    """The labels that were taught: classes (n,), or probabilities (n, classes)."""
    gradient: Callable[[], ObjectiveGradient]
    """Takes the gradient, which costs about as much as measuring."""
    class_losses: Tensor | None = None
    """The part of each class in the loss (classes,); None unless classes are compared."""


@dataclass(frozen=True)
class IterationEnd:
    """The state after the updates of one iteration, with what else became of it."""

    state: DistillState
    figures: dict[str, float] = field(default_factory=dict)
    """Series of the iteration as a whole, such as how many epochs a network was trained."""
    carried: dict[str, float] = field(default_factory=dict)
    """What the objective needs in the next iteration."""


Update = Callable[[DistillState, Measurement], DistillState]
"""Updates the synthetic set by a measurement at that state."""

Objective = Callable[[DistillState, Update], IterationEnd]
"""Performs one iteration; a function of the state and the step's settings alone."""
