"""`synthetic.h5`, the synthetic set of a run folder: how it is written, read and checked.

The file holds everything that training on the set needs: the images as networks receive them, with
the mean and standard deviation or the whitening that leads there (and then the images as pixels
too), the labels, the learned student_lr, and the augmentation. The eigenvectors of a whitening take
far more room than the set and follow from the real images: they have a file of their own,
`whitening.h5`, with the array `zca_vectors`.

| array | shape | holds |
|---|---|---|
| images | (n, c, h, w) | the images as networks receive them, in float32, ordered by class |
| labels | (n,) or (n, classes) | class numbers, or probabilities |
| student_lr | () | the learning rate to train with |
| mean, std | (c,) | the normalisation by channel; not in whitened sets |
| pixels | (n, c, h, w) | the images in [0, 1]; only in whitened sets, likewise the next two |
| zca_mean | (c h w,) | the mean that the whitening subtracts |
| zca_values | (c h w,) | the eigenvalues of the whitening |
| zca_scale | (c h w,) | what pixels are divided by first; only in FRePo's form of whitening |
| zca_contrast | (2,) | mean norm and level of the images, which lost theirs; only in KIP's form |

| attribute | holds |
|---|---|
| format | 2, or 3 if the set is whitened |
| plan | digest of the plan |
| dataset | fingerprint of the real images |
| iteration | number of iterations that made the set |
| class_names | names of the classes, as JSON |
| augmentation, network | how networks are trained on it, as JSON |
| zca_epsilon | regularisation of the whitening; only in whitened sets |
| label_kind | `regression` or `unnormalized`, if labels are no classes or probabilities |
| partition | f, if each image holds f x f small ones, which networks see enlarged |
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.atomic_write import atomic_write
from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import DatasetStep, Plan
from ddspec.dsl.record.file_names import SYNTHETIC_H5, WHITENING_H5
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import UnfitFile, sha256_of
from ddspec.dsl.spec.synthetic import Hard, ProbabilityLabels
from ddspec.dsl.terms import WhiteningForm
from ddspec.engine.numerics.whitening import Whitening
from ddspec.engine.store.hdf5_file import (
    READ_ERRORS,
    check_self_contained,
    hdf5_to_write,
    open_to_read,
    read_text_attribute,
    set_attributes,
)
from ddspec.engine.store.store import Store
from ddspec.engine.training.partition import seen_images, seen_labels

SYNTHETIC_FORMAT = 2
WHITENED_FORMAT = 3
"""Format of whitened sets. Those of format 2 hold the eigenvectors of the whitening themselves."""
VECTORS = "zca_vectors"
Judged = Hard | ProbabilityLabels
"""Labels that an imported set may have."""

NEEDED = ("images", "labels", "student_lr")
"""Arrays that every synthetic.h5 has."""


@contextmanager
def open_synthetic_file(path: Path, plan: Plan) -> Iterator[h5py.File]:
    """Open a synthetic.h5 for the block, after checking format, plan and shapes.

    Raises RecordError if a check fails, or if the block raises an error of h5py.
    """
    try:
        with open_to_read(path) as file:
            check_synthetic_file(file, path.name, plan)
            # A stranger's file may be sparse, so that its size says nothing of the disk.
            size = sum(file[name].nbytes for name in file if name != "pixels")
            claim(2 * size, f"reading {path.name}", "the plan's synthetic.ipc gives its size")
            yield file
    except READ_ERRORS as error:
        known = isinstance(error, FileNotFoundError | PermissionError | UnfitFile)
        reason = error.strerror if isinstance(error, OSError) and known else error
        raise RecordError(f"{path.name} cannot be read: {reason}") from None


def check_synthetic_file(file: h5py.File, name: str, plan: Plan) -> None:
    """Raise RecordError if a file is not a synthetic set of a plan; no array is read."""
    facts = plan.dataset.facts
    count = facts.classes * plan.distill.synthetic.ipc
    shape = (count, facts.channels, facts.height, facts.width)
    check_self_contained(file)
    number = int(file.attrs["format"])
    known = (SYNTHETIC_FORMAT, WHITENED_FORMAT)
    if number not in known:
        problem = (
            f"{name} has format {number}, but this ddspec reads formats {known[0]}, {known[1]}"
        )
        raise RecordError(problem, hint="use the release of ddspec that wrote it")
    digest = read_text_attribute(file, "plan")
    if digest != plan.digest:
        raise RecordError(f"{name} belongs to plan {digest}, not to plan {plan.digest}")
    images, labels, student_lr = (file[array] for array in NEEDED)
    if images.shape != shape:
        raise RecordError(f"{name} has images of shape {images.shape}, not {shape}")
    if labels.shape not in ((count,), (count, facts.classes)):
        raise RecordError(
            f"{name} has labels of shape {labels.shape}, not {(count,)} or {(count, facts.classes)}"
        )
    if student_lr.shape != ():
        raise RecordError(f"{name} has student_lr of shape {student_lr.shape}, not one number")
    if images.dtype.kind != "f" or labels.dtype.kind not in "iuf":
        raise RecordError(f"{name} has images or labels that are not numbers")


def read_synthetic_file(path: Path, plan: Plan) -> dict[str, NDArray[np.generic]]:
    """Return images, labels and student_lr of a synthetic.h5, as they are stored.

    Raises RecordError if the file is damaged or belongs to another plan.
    """
    with open_synthetic_file(path, plan) as file:
        return {name: np.asarray(file[name][()]) for name in NEEDED}


def write_synthetic_file(
    plan: Plan,
    iteration: int,
    name: str,
    store: Store,
    whitening: Whitening | None,
    folder: Path,
) -> None:
    """Write the synthetic set of one iteration with everything that training on it needs."""
    facts, form = plan.dataset.facts, plan.distill.synthetic.labels
    partition = plan.distill.synthetic.partition
    with store.open("synthetic", name) as source:
        arrays = {key: source[key][()] for key in NEEDED}
    if plan.evaluation_lr is not None:
        arrays["student_lr"] = np.float32(plan.evaluation_lr)
    if whitening is not None:
        arrays |= {
            "pixels": whitening.invert(arrays["images"]),
            "zca_mean": whitening.mean,
            "zca_values": whitening.values,
        }
        optional = {"zca_scale": whitening.scale, "zca_contrast": whitening.contrast}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        write_vectors(facts, whitening, folder / WHITENING_H5)
    else:
        arrays |= {"mean": np.array(facts.mean), "std": np.array(facts.std)}
    size = sum(array.nbytes for array in arrays.values())
    with atomic_write(folder / SYNTHETIC_H5) as beside, hdf5_to_write(beside, size) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
        set_attributes(
            file,
            format=SYNTHETIC_FORMAT if whitening is None else WHITENED_FORMAT,
            plan=plan.digest,
            dataset=facts.fingerprint,
            iteration=iteration,
            class_names=json.dumps(facts.class_names),
            **({"zca_epsilon": whitening.epsilon} if whitening is not None else {}),
            **({"partition": partition} if partition > 1 else {}),
            **({"label_kind": form.name} if not isinstance(form, Judged) else {}),
            augmentation=plan.evaluations("distilled")[0].augmentation.model_dump_json(),
            network=plan.distill.network.model_dump_json(),
        )


def write_vectors(facts: DatasetFacts, whitening: Whitening, path: Path) -> None:
    """Write the eigenvectors of a whitening."""
    with atomic_write(path) as beside, hdf5_to_write(beside, whitening.vectors.nbytes) as file:
        file.create_dataset(VECTORS, data=whitening.vectors)
        set_attributes(file, format=WHITENED_FORMAT, dataset=facts.fingerprint)


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
    """A synthetic set, as networks see it, with everything that training on it needs."""

    images: Tensor
    """(n, c, h, w) in float32, normalised or whitened as the run's networks received them.

    Images are ordered by class. Partitioned ones are cut and enlarged."""
    labels: Tensor
    """(n,) classes, or (n, classes) probabilities."""
    student_lr: float
    """The learned learning rate; another one changes the accuracy."""
    preprocessing: dict[str, NDArray[np.generic]]
    """`mean` and `std` by channel; or the whitening.

    The whitening is `zca_mean`, `zca_values`, `zca_vectors` and `zca_epsilon`, with `zca_scale` or
    `zca_contrast` in some forms."""
    iteration: int

    @property
    def is_soft(self) -> bool:
        """Whether the labels are probabilities."""
        return self.labels.ndim == 2


def read_synthetic_set(folder: Path, record: Record) -> SyntheticSet:
    """Return the synthetic set of a run folder.

    Raises RecordError if synthetic.h5 is missing, damaged, or belongs to another plan.
    """
    step = record.plan.dataset
    with open_synthetic_file(folder / SYNTHETIC_H5, record.plan) as file:
        shapes = preprocessing_shapes(step)
        preprocessing = {
            name: read_numbers(file, name, shape)
            for name, shape in shapes.items()
            if name in file or name != VECTORS
        }
        if step.dataset.zca:
            preprocessing["zca_epsilon"] = np.asarray(float(file.attrs["zca_epsilon"]))
            if VECTORS not in file:
                preprocessing[VECTORS] = read_vectors(folder, step, shapes[VECTORS])
        partition = record.plan.distill.synthetic.partition
        labels = seen_labels(torch.from_numpy(file["labels"][()]), partition)
        return SyntheticSet(
            images=seen_images(torch.from_numpy(file["images"][()]).float(), partition),
            labels=labels.long() if labels.ndim == 1 else labels.float(),
            student_lr=float(file["student_lr"][()]),
            preprocessing=preprocessing,
            iteration=int(file.attrs["iteration"]),
        )


def read_numbers(file: h5py.File, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return an array of a file; raise RecordError if it has no numbers of this shape."""
    if name not in file or file[name].shape != shape or file[name].dtype.kind != "f":
        raise RecordError(f"{Path(file.filename).name} has no numbers {name} of shape {shape}")
    return np.asarray(file[name][()])


def read_vectors(folder: Path, step: DatasetStep, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the eigenvectors in whitening.h5.

    Raises RecordError if the file is missing or damaged, or belongs to other images.
    """
    try:
        with open_to_read(folder / WHITENING_H5) as file:
            check_self_contained(file)
            if read_text_attribute(file, "dataset") != step.facts.fingerprint:
                raise RecordError(f"{WHITENING_H5} belongs to other images")
            claim(4 * prod(shape), f"reading {WHITENING_H5}", "the images' size gives it")
            return read_numbers(file, VECTORS, shape)
    except FileNotFoundError:
        raise RecordError(
            f"{folder} has no {WHITENING_H5}, which holds the eigenvectors of the whitening",
            hint="ddspec run with the same spec writes it",
        ) from None
    except READ_ERRORS as error:
        raise RecordError(f"{WHITENING_H5} cannot be read: {error}") from None


def preprocessing_shapes(step: DatasetStep) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays that say how images were normalised or whitened."""
    facts = step.facts
    if step.dataset.whitening is None:
        return {"mean": (facts.channels,), "std": (facts.channels,)}
    pixels = facts.channels * facts.height * facts.width
    own: dict[WhiteningForm, dict[str, tuple[int, ...]]] = {
        "mtt": {},
        "frepo": {"zca_scale": (pixels,)},
        "kip": {"zca_contrast": (2,)},
    }
    shapes = {"zca_mean": (pixels,), "zca_values": (pixels,), VECTORS: (pixels, pixels)}
    return {**shapes, **own[step.dataset.whitening]}


def check_unaltered(folder: Path, record: Record) -> None:
    """Raise RecordError if synthetic.h5 or whitening.h5 is not the file that the run wrote.

    The records of some old runs have no checksums; then nothing is checked.
    """
    for name in (SYNTHETIC_H5, WHITENING_H5):
        recorded = record.files.get(name)
        if recorded and recorded != sha256_of(folder / name):
            problem = (
                f"{name} is not the file that the run wrote, so the recorded accuracy "
                "is not that of this file"
            )
            raise RecordError(problem, hint="ddspec run with the same spec writes it again")
