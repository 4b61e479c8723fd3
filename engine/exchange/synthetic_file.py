"""`synthetic.h5`, the synthetic set of a run folder: how it is written, read and checked.

The file holds everything that training on the set needs: the images as networks receive them, with
the mean and standard deviation or the whitening that leads there (and then the images as pixels
too), the labels, the learned student_lr, and the augmentation.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.atomic_write import atomic_write
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import SYNTHETIC_H5
from ddspec.dsl.record.record import Record
from ddspec.engine.numerics.whitening import Whitening
from ddspec.engine.store.hdf5_file import (
    READ_ERRORS,
    check_self_contained,
    open_to_read,
    open_to_write,
    read_text_attribute,
    set_attributes,
)
from ddspec.engine.store.store import Store, sha256_of

SYNTHETIC_FORMAT = 2

NEEDED = ("images", "labels", "student_lr")


def read_synthetic_file(path: Path, plan: Plan) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a synthetic.h5; raise RecordError if it is not of that plan."""
    step = plan.distill
    facts = plan.dataset.facts
    shape = (facts.classes * step.synthetic.ipc, facts.channels, facts.height, facts.width)
    try:
        with open_to_read(path) as file:
            check_self_contained(file)
            number = int(file.attrs["format"])
            if number != SYNTHETIC_FORMAT:
                problem = f"{path.name} has format {number}; this ddspec reads {SYNTHETIC_FORMAT}"
                raise RecordError(problem, hint="use the ddspec that wrote it")
            if read_text_attribute(file, "plan") != plan.digest:
                raise RecordError(
                    f"{path.name} is of another plan: {read_text_attribute(file, 'plan')}"
                )
            if file["images"].shape != shape:
                raise RecordError(f"{path.name} holds images {file['images'].shape}, not {shape}")
            count = shape[0]
            if file["labels"].shape not in ((count,), (count, facts.classes)):
                raise RecordError(f"{path.name} holds labels {file['labels'].shape}")
            if file["student_lr"].shape != ():
                raise RecordError(f"{path.name} holds rates {file['student_lr'].shape}, not one")
            if file["images"].dtype.kind != "f" or file["labels"].dtype.kind not in "iuf":
                raise RecordError(f"{path.name} holds images or labels that are not numbers")
            return {name: np.asarray(file[name][()]) for name in NEEDED}
    except READ_ERRORS as error:
        raise RecordError(f"{path.name} cannot be read: {error}") from None


def write_synthetic_file(
    plan: Plan,
    iteration: int,
    name: str,
    store: Store,
    whitening: Whitening | None,
    path: Path,
) -> None:
    """Write the synthetic set of one iteration with everything that training on it needs."""
    facts = plan.dataset.facts
    step = plan.distill
    with store.open("synthetic", name) as source:
        arrays = {key: source[key][()] for key in ("images", "labels", "student_lr")}
    if whitening is not None:
        arrays |= {
            "pixels": whitening.invert(arrays["images"]),
            "zca_mean": whitening.mean,
            "zca_values": whitening.values,
            "zca_vectors": whitening.vectors,
        }
    else:
        arrays |= {"mean": np.array(facts.mean), "std": np.array(facts.std)}
    with atomic_write(path) as beside, open_to_write(beside) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
        set_attributes(
            file,
            format=SYNTHETIC_FORMAT,
            plan=plan.digest,
            dataset=facts.fingerprint,
            iteration=iteration,
            class_names=json.dumps(facts.class_names),
            **({"zca_epsilon": whitening.epsilon} if whitening is not None else {}),
            augmentation=step.augmentation.model_dump_json(),
            network=step.network.model_dump_json(),
        )


def to_pixels(
    images: NDArray[np.float32], facts: DatasetFacts, whitening: Whitening | None
) -> NDArray[np.float32]:
    """Return images (n c h w) from the networks' space in [0, 1], clipped, for display."""
    if whitening is not None:
        return np.clip(whitening.invert(images), 0, 1)
    mean = np.array(facts.mean, dtype=np.float32)[:, None, None]
    std = np.array(facts.std, dtype=np.float32)[:, None, None]
    return np.clip(images * std + mean, 0, 1)


@dataclass(frozen=True)
class SyntheticSet:
    """A synthetic set with everything that training on it needs."""

    images: NDArray[np.float32]
    """(n, c, h, w), normalised or whitened as networks receive them, ordered by class."""
    labels: NDArray[np.generic]
    """(n,) classes, or (n, classes) soft labels."""
    student_lr: float
    preprocessing: dict[str, NDArray[np.generic]]
    """`mean` and `std` by channel, or the whitening: `zca_mean`, `zca_values`, `zca_vectors`."""
    iteration: int


def read_set(folder: Path, record: Record) -> SyntheticSet:
    """Return the synthetic set of a run folder; raise RecordError if it is damaged or foreign."""
    path = folder / SYNTHETIC_H5
    arrays = read_synthetic_file(path, record.plan)
    if record.files.get(SYNTHETIC_H5, "") not in ("", sha256_of(path)):
        problem = (
            f"{SYNTHETIC_H5} is not the file that the run wrote, so the recorded accuracy "
            "is not that of this file"
        )
        raise RecordError(problem, hint="ddspec run with the same spec writes it again")
    step = record.plan.dataset
    facts, pixels = step.facts, step.facts.channels * step.facts.height * step.facts.width
    shapes: dict[str, tuple[int, ...]] = {"mean": (facts.channels,), "std": (facts.channels,)}
    if step.dataset.zca:
        shapes = {
            "zca_mean": (pixels,),
            "zca_values": (pixels,),
            "zca_vectors": (pixels, pixels),
        }
    try:
        with open_to_read(path) as file:
            for name, shape in shapes.items():
                if file[name].shape != shape or file[name].dtype.kind != "f":
                    raise RecordError(f"{SYNTHETIC_H5} holds no {name} of shape {shape}")
            preprocessing = {name: np.asarray(file[name][()]) for name in shapes}
            if step.dataset.zca:
                preprocessing["zca_epsilon"] = np.asarray(float(file.attrs["zca_epsilon"]))
            iteration = int(file.attrs["iteration"])
    except READ_ERRORS as error:
        raise RecordError(f"{SYNTHETIC_H5} cannot be read: {error}") from None
    images = np.asarray(arrays["images"], dtype=np.float32)
    return SyntheticSet(
        images, arrays["labels"], float(arrays["student_lr"]), preprocessing, iteration
    )


@dataclass(frozen=True)
class SyntheticTensors:
    """A synthetic set as tensors for a training loop."""

    images: Tensor
    """(n, c, h, w) in float32, normalised or whitened as the run's networks received them.

    Images are ordered by class."""
    labels: Tensor
    """(n,) classes, or (n, classes) probabilities."""
    student_lr: float
    """The learned learning rate; another one changes the accuracy."""


def synthetic_tensors(folder: Path, record: Record) -> SyntheticTensors:
    """Return images, labels and learning rate of synthetic.h5, or raise RecordError."""
    arrays = read_synthetic_file(folder / SYNTHETIC_H5, record.plan)
    labels = torch.from_numpy(arrays["labels"])
    return SyntheticTensors(
        torch.from_numpy(arrays["images"]).float(),
        labels.long() if labels.ndim == 1 else labels.float(),
        float(arrays["student_lr"]),
    )
