"""What [matching] has whatever is matched."""

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import DATM, DDSPEC, MTT, RAT_BPTT, key
from ddspec.dsl.terms import GradientGuard


class GradientLimit(Document):
    """A limit on the gradient with respect to the synthetic images: `norm` or `over_mean`."""

    norm: float | None = key(None, source=DDSPEC, gt=0, le=1e30)
    """Largest norm of the gradient with respect to all synthetic images together."""
    over_mean: float | None = key(None, source=RAT_BPTT, gt=0, le=1e30)
    """Largest norm, in multiples of its moving average over the updates; 2 in the public
    code of RaT-BPTT. The average already has the update that is limited."""
    mean_decay: float = key(0.9, source=RAT_BPTT, ge=0, lt=1)
    """Decay of that moving average, which starts from the first norm."""
    action: GradientGuard = key("clip", source=DDSPEC)
    """If the norm is larger, scale the images' gradient down to it (`clip`), or skip
    the whole update (`skip`)."""


class OuterLoop(Document):
    """What the outer loop has whatever it matches."""

    objective: str
    iterations: int = key(5000, source=MTT, ge=0, le=10_000_000)
    """Updates of the synthetic set; 0 evaluates the initial set. MTT's code runs one
    iteration more than its option says."""
    loss_limit: float | None = key(None, source=DATM, gt=0, le=1e30)
    """Updates whose matching loss exceeds this are skipped and counted. If absent, none are."""
    gradient_limit: GradientLimit | None = key(None, source=DDSPEC)
    """Guard against exploding gradients. If absent, there is none."""
