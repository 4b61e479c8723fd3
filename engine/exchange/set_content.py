"""What the files of a synthetic set contain, in every form in which the field saves them.

| file | content |
|---|---|
| `images_best.pt`, `labels_best.pt`, `lr_best.pt` | one tensor each, of MTT's family |
| `.pt` with a dictionary | tensors by name |
| `data.pt` with the key `data` | a list of [images, labels], a set each, of DC, DSA and DM |
| `.npz` | arrays by name |
| `.h5` | `synthetic.h5` of a run, or the set of a shared folder |
| folder | an image file per image in a folder per class |

Only numbers and images are read; nothing in a file is executed.
"""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.record.synthetic_set import PixelSpace
from ddspec.dsl.regular_file import UnfitFile, check_regular_file
from ddspec.dsl.spec.synthetic import MOST_PARTITION
from ddspec.engine.exchange.pixel_space import space_by_name
from ddspec.engine.exchange.tensor_file import load_tensors
from ddspec.engine.images.decode import TargetFormat
from ddspec.engine.images.image_files import decode_all
from ddspec.engine.images.layouts import from_classes, list_dataset_folder
from ddspec.engine.images.open_image import limits_of_ddspec, open_image
from ddspec.engine.store.hdf5_file import (
    READ_ERRORS,
    check_self_contained,
    open_to_read,
    read_text_attribute,
)
from ddspec.engine.store.imported_set import array_sha256, description_in
from ddspec.engine.training.partition import seen_images, seen_labels

IMAGE_NAMES = (
    *("images", "image", "image_syn", "images_syn", "image_tensor"),
    *("syn_images", "data", "x"),
)
LABEL_NAMES = (
    *("labels", "label", "label_syn", "labels_syn", "targets", "target", "y"),
    *("syn_labels", "soft_labels", "hard_labels"),
)
LR_NAMES = ("student_lr", "syn_lr", "lr", "lr_syn", "synthetic_lr")
"""Names under which the field's code keeps images, labels and learning rate."""

ITERATION_COMMENT = b"ddspec iteration %d"
"""Comment of the archives that `ddspec export --as pt` writes."""

EXPORTED_NUMBER = 4
"""Digits before the name in the class folders of `ddspec export`."""


@dataclass(frozen=True)
class SetContent:
    """What was found in the files of a set, unchecked but for its types."""

    images: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    student_lr: float | None = None
    pixels: PixelSpace | None = None
    """The space of the pixels, if the file says it."""
    class_names: tuple[str, ...] = ()
    """Classes in the order of the labels, if the file says it."""
    iteration: int | None = None
    """Iteration of the run that made it, if the file says it."""
    partition: int = 1
    """f, if f x f of the images were stored in the room of one."""
    has_other_labels: bool = False
    """Whether the file says that its labels are neither classes nor probabilities."""
    source: str = ""
    """Where it comes from, if the file says it."""


def read_content(path: Path, number: int | None = None) -> SetContent:
    """Return what a file or folder contains of a set; `number` chooses among several sets.

    Images of bytes become pixels in [0, 1]. Raises DataError if the path cannot be read or contains
    nothing of a set.
    """
    if path.is_dir():
        content = read_image_folder(path)
    elif path.suffix in (".h5", ".hdf5"):
        content = read_hdf5(path)
    elif path.suffix == ".npz":
        content = read_npz(path)
    else:
        content = read_pt(path, number)
    if content.images is not None and content.images.dtype == np.uint8:
        in_unit = content.images / np.float32(255)
        return replace(content, images=in_unit, pixels=PixelSpace(name="unit"))
    return content


def read_pt(path: Path, number: int | None) -> SetContent:
    """Return the content of a file of torch, with the iteration if ddspec exported it."""
    return replace(tensors_in(path, number), iteration=exported_iteration(path))


def exported_iteration(path: Path) -> int | None:
    """Return the iteration in the comment of an exported file; None if it has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        said = re.fullmatch(rb"ddspec iteration ([0-9]{1,9})", archive.comment)
    return None if said is None else int(said[1])


def tensors_in(path: Path, number: int | None) -> SetContent:
    """Return the content of a file of torch."""
    loaded = load_tensors(path)
    if isinstance(loaded, dict) and isinstance(loaded.get("data"), list):
        return chosen_of_several(path, loaded["data"], number)
    if isinstance(loaded, dict):
        return by_name(path, {str(key): value for key, value in loaded.items()})
    if isinstance(loaded, Tensor) and loaded.numel() == 1 and loaded.ndim < 2:
        return SetContent(student_lr=number_in(path, loaded))
    if isinstance(loaded, Tensor) and loaded.ndim == 4:
        return SetContent(images=array_of(path, loaded))
    if isinstance(loaded, Tensor) and loaded.ndim in (1, 2):
        return SetContent(labels=array_of(path, loaded))
    if isinstance(loaded, int | float):
        return SetContent(student_lr=number_in(path, loaded))
    if isinstance(loaded, list | tuple) and is_pair(loaded):
        return pair(path, loaded)
    raise DataError(
        f"{path.name}: it contains {kind_of(loaded)}, not images, labels or a learning rate",
        hint="a set is a tensor of images (n, c, h, w) and one of labels, or a dictionary of them; "
        "replay buffers are imported without --synthetic",
    )


def kind_of(loaded: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(loaded, Tensor):
        return f"a tensor of shape {tuple(loaded.shape)}"
    if isinstance(loaded, np.ndarray):
        return f"an array of type {loaded.dtype}"
    if isinstance(loaded, list | tuple):
        return f"a list of {len(loaded)} values"
    return f"a value of type {type(loaded).__name__}"


def is_pair(loaded: Sequence[Any]) -> bool:
    """Return whether a value is [images, labels]."""
    return len(loaded) == 2 and all(isinstance(part, Tensor) for part in loaded)


def pair(path: Path, loaded: Sequence[Tensor]) -> SetContent:
    """Return a pair of images and labels."""
    return SetContent(images=array_of(path, loaded[0]), labels=array_of(path, loaded[1]))


def chosen_of_several(path: Path, sets: Sequence[Any], number: int | None) -> SetContent:
    """Return one of the sets that the code of DC, DSA and DM keeps in one file."""
    if not sets or not all(isinstance(each, list | tuple) and is_pair(each) for each in sets):
        raise DataError(f'{path.name}: its "data" is not a list of pairs of images and labels')
    if number is None and len(sets) > 1:
        raise DataError(
            f"{path.name}: it holds {len(sets)} sets, of as many seeds",
            hint=f"choose one with --number, from 0 to {len(sets) - 1}, and import each by itself",
        )
    index = number or 0
    if not 0 <= index < len(sets):
        raise DataError(
            f"{path.name}: it has no set {index}", hint=f"its sets are 0 to {len(sets) - 1}"
        )
    return pair(path, sets[index])


def array_of(path: Path, tensor: Tensor) -> NDArray[Any]:
    """Return a tensor as an array; raise DataError if it claims more than its file holds."""
    value = tensor.detach()
    if value.device.type != "cpu" or value.is_nested or value.layout != torch.strided:
        raise DataError(f"{path.name}: it holds a tensor that is not a plain array of numbers")
    # A view may claim any size, but the content of a file is not larger than the file.
    size = value.numel() * value.element_size()
    if size > path.stat().st_size:
        raise DataError(f"{path.name}: a tensor claims to be larger than the file")
    claim(3 * size, f"{path.name}: reading its tensor")
    if value.is_complex() or value.is_quantized:
        raise DataError(f"{path.name}: it holds a tensor of {value.dtype}, not of real numbers")
    return np.asarray((value.float() if value.is_floating_point() else value).contiguous().numpy())


def number_in(path: Path, value: Any) -> float:
    """Return a single number; raise DataError if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise DataError(f"{path.name}: its learning rate is not one number") from None


def by_name(path: Path, values: Mapping[str, Any]) -> SetContent:
    """Return a set from values by the names that the field gives them."""
    images, labels, rate = (
        next((values[name] for name in names if name in values), None)
        for names in (IMAGE_NAMES, LABEL_NAMES, LR_NAMES)
    )
    if images is None and labels is None and rate is None:
        found = ", ".join(sorted(values))[:200]
        raise DataError(
            f"{path.name}: none of its names is known to be images, labels or a learning rate: "
            f"{found or 'it has none'}",
            hint=f"images are called {', '.join(IMAGE_NAMES[:3])}, labels "
            f"{', '.join(LABEL_NAMES[:3])}, the learning rate {', '.join(LR_NAMES[:3])}",
        )

    def array(value: Any, what: str) -> NDArray[Any] | None:
        if isinstance(value, Tensor):
            return array_of(path, value)
        if value is None or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
            return value
        raise DataError(f"{path.name}: its {what} are {kind_of(value)}, not an array of numbers")

    return SetContent(
        images=array(images, "images"),
        labels=array(labels, "labels"),
        student_lr=None if rate is None else number_in(path, rate),
        pixels=space_by_name(path, values),
        class_names=names_in(values.get("class_names")),
    )


def names_in(value: Any) -> tuple[str, ...]:
    """Return class names from an array of texts; none if it is something else."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "U":
        return tuple(str(name) for name in value[:100_000])
    return ()


def read_npz(path: Path) -> SetContent:
    """Return the content of a file of NumPy, read without pickle."""
    try:
        size = check_regular_file(path)
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > 1000 * size:
            raise DataError(f"{path.name}: it claims to be more than a thousand times its size")
        claim(3 * claimed, f"reading {path.name}")
        with np.load(path, allow_pickle=False) as arrays:
            return by_name(path, {name: arrays[name] for name in arrays.files})
    except DdspecError:
        raise
    except (OSError, UnfitFile) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None
    except Exception as error:  # A stranger's bytes can make the reader raise any exception.
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path.name}: it contains Python objects, which are not read, because reading "
                "them could execute what is in the file",
                hint="save it again as arrays of numbers",
            ) from None
        raise DataError(
            f"{path.name}: it is damaged, or not a file that numpy.savez wrote",
            hint="copy or download it again",
        ) from None


def read_hdf5(path: Path) -> SetContent:
    """Return the content of a run's synthetic.h5, or of the set in a shared folder."""
    try:
        with open_to_read(path) as file:
            check_self_contained(file)
            if "images" not in file or "labels" not in file:
                raise DataError(f"{path.name}: it has no arrays images and labels")
            claim(3 * file["images"].nbytes + file["labels"].nbytes, f"reading {path.name}")
            names = [name for name in READ_OF_HDF5 if name in file]
            content = by_name(path, {name: np.asarray(file[name][()]) for name in names})
            return with_description(path, file, content)
    except DdspecError:
        raise
    except (*READ_ERRORS, UnfitFile) as error:
        raise DataError(
            f"{path.name} cannot be read as the synthetic set of a run: {error}",
            hint="synthetic.h5 lies in every run folder; ddspec export --as share writes set.h5",
        ) from None


READ_OF_HDF5 = (
    *("images", "labels", "student_lr", "mean", "std"),
    *("zca_mean", "zca_scale", "zca_contrast"),
)
"""Arrays of a synthetic.h5 that an import reads; the whitening itself is made from real images."""


def with_description(path: Path, file: h5py.File, content: SetContent) -> SetContent:
    """Return the content of a file with what its attributes say.

    Raises DataError if the arrays of a shared set are not those that its name promises.
    """
    if "origin" not in file.attrs:
        classes = json.loads(read_text_attribute(file, "class_names"))
        iteration = int(file.attrs["iteration"])
        return replace(
            as_seen(path, content, int(file.attrs.get("partition", 1))),
            class_names=tuple(map(str, classes)),
            has_other_labels="label_kind" in file.attrs,
            iteration=iteration if iteration >= 0 else None,
        )
    described = description_in(file)
    checksums = (array_sha256(file["images"][()]), array_sha256(file["labels"][()]))
    if checksums != (described.images_sha256, described.labels_sha256):
        raise DataError(
            f"{path.name}: its arrays are not those of the set {described.name}, which it claims "
            "to be",
            hint="copy or download it again",
        )
    return replace(
        content,
        student_lr=described.student_lr,
        pixels=described.pixels,
        class_names=described.class_names,
        iteration=described.iteration,
        partition=described.partition,
        source=described.source,
    )


def as_seen(path: Path, content: SetContent, partition: int) -> SetContent:
    """Return a partitioned set as networks see it; raise DataError if it does not divide so."""
    if partition == 1:
        return content
    images, labels = content.images, content.labels
    assert images is not None and labels is not None  # `read_hdf5` has refused a file without
    fits = 1 < partition <= MOST_PARTITION and images.ndim == 4
    if not (fits and all(side % partition == 0 for side in images.shape[2:])):
        raise DataError(
            f"{path.name}: images of shape {images.shape} do not divide into {partition} x "
            f"{partition} parts, as the file says",
            hint="copy or download it again",
        )
    seen = seen_images(torch.from_numpy(images.astype(np.float32)), partition)
    repeated = seen_labels(torch.from_numpy(labels), partition)
    return replace(content, images=seen.numpy(), labels=repeated.numpy(), partition=partition)


def read_image_folder(path: Path) -> SetContent:
    """Return the images in a folder with a folder per class, as bytes, class by class."""
    found = from_classes(list_dataset_folder(path, None))
    if found is None or not found.files:
        raise DataError(
            f"{path} has no image in a folder per class",
            hint="place the images in CLASS/FILE below it",
        )
    names = tuple(sorted({file.class_name for file in found.files}))
    files = sorted(found.files, key=lambda file: (names.index(file.class_name), file.file_name))
    with limits_of_ddspec():
        heads = [open_image(file, is_resized=False) for file in files]
        width, height = heads[0].size
        target = TargetFormat(
            channels=1 if all(head.is_grey for head in heads) else 3,
            height=height,
            width=width,
            resizes=False,
            fit="crop",
            alpha="refuse",
        )
        images = decode_all(files, target)
    labels = np.array([names.index(file.class_name) for file in files], dtype=np.int64)
    return SetContent(
        images=images,
        labels=labels,
        pixels=PixelSpace(name="unit"),
        class_names=without_numbers(names),
    )


def without_numbers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of class folders without the numbers that `ddspec export` puts first."""
    numbered = [f"{index:0{EXPORTED_NUMBER}d}_" for index in range(len(names))]
    if all(name.startswith(number) for name, number in zip(names, numbered, strict=True)):
        return tuple(name[EXPORTED_NUMBER + 1 :] for name in names)
    return names
