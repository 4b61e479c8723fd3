"""The synthetic set of a run folder as tensors."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddspec.dsl.record.record import Record
from ddspec.engine.run.reevaluate import read_synthetic
from ddspec.engine.run.run_folder import SYNTHETIC


@dataclass(frozen=True)
class SyntheticTensors:
    """What a training loop needs."""

    images: Tensor
    """(n, c, h, w) in float32, normalised or whitened as the networks of the run were given them;
    class-major."""
    labels: Tensor
    """(n,) classes, or (n, classes) probabilities."""
    student_lr: float
    """The learned rate; networks trained with another give another accuracy."""


def synthetic_tensors(folder: Path, record: Record) -> SyntheticTensors:
    """Images, labels and rate of synthetic.h5. Raises RecordError where it is unfit."""
    arrays = read_synthetic(folder / SYNTHETIC, record.plan)
    labels = torch.from_numpy(arrays["labels"])
    return SyntheticTensors(
        torch.from_numpy(arrays["images"]).float(),
        labels.long() if labels.ndim == 1 else labels.float(),
        float(arrays["student_lr"]),
    )
