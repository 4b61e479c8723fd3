"""The table [matching] of kernel regression on the features of a pool of networks."""

from typing import Literal

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import FREPO, MOST, key
from ddspec.dsl.spec.objectives.outer_loop import OuterLoop


class Pool(Document):
    """Networks in training on the synthetic set, one of which each iteration uses."""

    networks: int = key(10, source=FREPO, ge=1, le=1000)
    """Networks in the pool. Their ages begin evenly spread over `max_steps`, so that they are
    not replaced at the same time."""
    max_steps: int = key(100, source=FREPO, ge=0, le=MOST)
    """Age above which a network is replaced by a fresh one. It grows by one with each training
    step, so that a network is trained for one step more than this."""
    lr: float = key(3e-4, source=FREPO, gt=0, le=1e6)
    """Learning rate of its Adam."""
    batch_size: int = key(1000, source=FREPO, ge=1, le=MOST)
    """Synthetic images of a training step, drawn anew; all of them if there are fewer."""


class Kernel(OuterLoop):
    """The error on real images of a ridge regression on the synthetic set.

    The features are those before the last layer of a network that is trained on the synthetic
    set; every iteration takes one of a pool, and then trains it for one step more.
    """

    objective: Literal["kernel"] = key(source=FREPO)
    """The error of a ridge regression on features (FRePo)."""
    real_images: int = key(1024, source=FREPO, ge=1, le=MOST)
    """Random real images of an iteration, on which the error is taken; all of them if there are
    fewer."""
    ridge: float = key(1e-6, source=FREPO, ge=0, le=1e6)
    """Ridge, in units of the mean diagonal entry of the kernel of the synthetic images."""
    mirror: bool = key(True, source=FREPO)
    """Regress on the mirrored synthetic images as well."""
    label_margin: float = key(1.0, source=FREPO, ge=0, le=1e6)
    """Weight of the reward for labels whose largest entry is far from the second, which stops
    at a distance of 1/k for k classes."""
    pool: Pool = key(Pool(), source=FREPO)
    """The networks."""
