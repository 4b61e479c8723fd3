"""What every stage works with: the real images on the device, the store, and the control."""

from dataclasses import dataclass

import torch

from ddspec.dsl.datasets import DatasetFacts
from ddspec.engine.control import Control
from ddspec.engine.data import RealData
from ddspec.engine.store import Store


@dataclass(frozen=True)
class Bench:
    """Data, store and control of one run."""

    facts: DatasetFacts
    data: RealData
    store: Store
    control: Control

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        return self.data.train_images.device
