"""What the outer loop has whatever it matches: its length and its guards."""

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import DATM, DDSPEC, MTT, key
from ddspec.dsl.terms import GradientGuard, ObjectiveName


class GradientLimit(Document):
    """A limit on the gradient with respect to the synthetic images."""

    norm: float = key(source=DDSPEC, gt=0, le=1e30)
    """Largest norm of the gradient with respect to all synthetic images together."""
    action: GradientGuard = key("clip", source=DDSPEC)
    """If the norm is larger, scale the images' gradient down to it (`clip`), or skip
    the whole update (`skip`)."""


class OuterLoop(Document):
    """What the outer loop has whatever it matches."""

    objective: ObjectiveName
    iterations: int = key(5000, source=MTT, ge=0, le=10_000_000)
    """Updates of the synthetic set; 0 evaluates the initial set. MTT's code runs one
    iteration more than its option says."""
    loss_limit: float | None = key(None, source=DATM, gt=0, le=1e30)
    """Updates whose matching loss exceeds this are skipped and counted. If absent, none are."""
    gradient_limit: GradientLimit | None = key(None, source=DDSPEC)
    """Guard against exploding gradients. If absent, there is none."""
