"""The table [matching] of performance: the loss on real images of a trained student."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import ADAM, MOST, RAT_BPTT, by_name, key
from ddspec.dsl.spec.objectives.outer_loop import OuterLoop
from ddspec.dsl.terms import FreeStepsDrawn


class FreeSteps(Document):
    """Student steps before the window, through which no gradient runs."""

    most: int = key(0, source=RAT_BPTT, ge=0, le=100_000)
    """Most of them (T - W): their number is drawn uniformly from `least` to this one. 0 is
    back-propagation through time from the first step on (BPTT)."""
    least: int = key(0, source=RAT_BPTT, ge=0, le=100_000)
    """Fewest of them; as many as `most` is a window at a fixed place."""
    drawn: FreeStepsDrawn = key("per_pass", source=RAT_BPTT)
    """Whether the number is drawn once for each pass over the real images (`per_pass`, the
    public code), or anew in each iteration (`per_iteration`, an option of it)."""


class AdamStudent(Document):
    """A student that is trained by Adam, as torch.optim.Adam without weight decay."""

    name: Literal["adam"] = key(source=RAT_BPTT)
    """`adam`: as torch.optim.Adam; `sgd`: gradient descent with heavy-ball momentum."""
    beta1: float = key(0.9, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of gradients."""
    beta2: float = key(0.999, source=ADAM, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""
    epsilon: float = key(1e-8, source=ADAM, gt=0, le=1)
    """Constant added to the denominator."""


class SgdStudent(Document):
    """A student that is trained by gradient descent, as torch.optim.SGD without weight decay."""

    name: Literal["sgd"] = key(source=RAT_BPTT)
    """Gradient descent."""
    momentum: float = key(0.9, source=RAT_BPTT, ge=0, lt=1)
    """Heavy-ball momentum."""


class Performance(OuterLoop):
    """The loss on real images of a student that was trained on the synthetic set.

    Every iteration has a student of its own, with a fresh initialisation. It takes some free
    steps and then those of the window; the gradient of its loss on a batch of real images runs
    back through the window (RaT-BPTT).
    """

    objective: Literal["performance"] = key(source=RAT_BPTT)
    """The loss of a student on real images (RaT-BPTT)."""
    window: int = key(source=RAT_BPTT, ge=1, le=100_000)
    """Student steps of the window (W), through which the gradient runs."""
    free_steps: FreeSteps = key(FreeSteps(), source=RAT_BPTT)
    """Student steps before the window."""
    real_images: int = key(5000, source=RAT_BPTT, ge=1, le=MOST)
    """Real images on which the student's loss is taken, the next ones of a random order that
    is drawn anew for each pass; for `kernel` random ones at each iteration, by default 1024. All
    of them if there are fewer."""
    syn_per_class: int | None = key(None, source=RAT_BPTT, ge=1, le=MOST)
    """Random synthetic images of each class per student step. If absent, all of them."""
    student_optimizer: Annotated[
        Annotated[AdamStudent | SgdStudent, Discriminator("name")], BeforeValidator(by_name)
    ] = key(AdamStudent(name="adam"), source=RAT_BPTT)
    """Optimiser of the student."""
    student_lr: float = key(0.001, source=RAT_BPTT, gt=0, le=1e6)
    """Learning rate of the student, which is not learned."""
