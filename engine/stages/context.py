"""The context of a stage: the real images on the device, the store, and the control."""

from dataclasses import dataclass, field

import torch

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.network import AnyNetwork
from ddspec.dsl.terms import Precision
from ddspec.engine.control import Control
from ddspec.engine.images.real_data import RealData
from ddspec.engine.networks.flat_network import FlatNetwork, flat_network
from ddspec.engine.store.store import Store
from ddspec.engine.training.epoch import GradientFn


@dataclass(frozen=True)
class StageContext:
    """Data, store and control of one run, as every stage receives them."""

    facts: DatasetFacts
    data: RealData
    store: Store
    control: Control
    precision: Precision = "float32"
    expert_gradients: dict[float | None, GradientFn] = field(default_factory=dict)
    """Gradient functions of experts by the weight of the loss, and of the loss by itself (None).

    All experts of a plan share them, and with them their recordings on a GPU.
    """

    @property
    def device(self) -> torch.device:
        """Return the device of the images, and so of every tensor."""
        return self.data.train_images.device

    def of_class(self, label: int) -> slice:
        """Return the slice of the training images that a class takes."""
        counts = self.facts.train_per_class
        first = sum(counts[:label])
        return slice(first, first + counts[label])

    def network(self, form: AnyNetwork) -> FlatNetwork:
        """Return the network for these images, in the run's precision."""
        return flat_network(form, self.facts, self.precision)
