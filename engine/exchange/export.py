"""Export of a run's synthetic set: images, NumPy, HDF5, and tensors for public code.

Everything comes from `synthetic.h5`; the record adds the text of the data card. What a format
cannot express is refused.

| form | files | content |
|---|---|---|
| images | `images/CLASS/NUMBER.png` | a PNG per image, clipped to [0, 1] and rounded to 8 bits |
| | `image_labels.csv` | soft labels, a row per image; only if labels are soft |
| npz | `synthetic.npz` | all arrays of `synthetic.h5` and `class_names`, without pickle |
| hdf5 | `synthetic.h5`, `whitening.h5` | copies of the run's files |
| pt | `images_best.pt`, `labels_best.pt` | images; classes or logits, as MTT's code reads them |
| | `lr_best.pt` | the learning rate to train with |

Beside them lies `README.md`, the data card.
"""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_never, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddspec.dsl.atomic_write import atomic_file, naming_file, write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import SYNTHETIC_H5, WHITENING_H5
from ddspec.dsl.record.record import Record
from ddspec.dsl.table_text import csv_text
from ddspec.dsl.terms import ExportForm
from ddspec.engine.exchange.data_card import LABELS_CSV, data_card
from ddspec.engine.exchange.set_content import ITERATION_COMMENT
from ddspec.engine.exchange.synthetic_file import (
    SyntheticSet,
    check_unaltered,
    read_synthetic_set,
    to_pixels,
)
from ddspec.engine.numerics.whitening import Whitening

FORMS: tuple[ExportForm, ...] = get_args(ExportForm)
CARD = "README.md"


def export_run(
    folder: Path, record: Record, to: Path, forms: tuple[ExportForm, ...] | None = None
) -> list[Path]:
    """Write the set in every form asked for, and a card that says how to train on it.

    Without forms, it is written in all that can express its labels.
    Raises RecordError if `to` is not empty, if the set is missing, damaged or was altered, or
    if a form cannot express it. Files that were written until then are removed.
    """
    check_target(to)
    if not (folder / SYNTHETIC_H5).exists():
        raise RecordError(
            f"{folder} has no {SYNTHETIC_H5} to export: "
            f"the outcome of its run is {record.outcome.status!r}",
            hint="ddspec run with the same spec writes it, if it ends with a synthetic set",
        )
    synthetic = read_synthetic_set(folder, record)
    check_unaltered(folder, record)
    wanted = fitting_forms(synthetic) if forms is None else forms
    try:
        return list(write_forms(synthetic, folder, record, to, wanted))
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def fitting_forms(synthetic: SyntheticSet) -> tuple[ExportForm, ...]:
    """Return the forms that can express the labels of a set."""
    return tuple(form for form in FORMS if form != "pt" or has_public_labels(synthetic))


def check_target(to: Path) -> None:
    """Raise RecordError unless a folder is empty or can be made."""
    nowhere = to.is_symlink() and not to.exists()
    if nowhere or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise RecordError(f"{to} exists and is not empty", hint="choose another folder with --to")


def write_forms(
    synthetic: SyntheticSet, folder: Path, record: Record, to: Path, forms: tuple[ExportForm, ...]
) -> Iterator[Path]:
    """Write each form, then the card; yield their paths."""
    to.mkdir(parents=True, exist_ok=True)
    for form in forms:
        match form:
            case "images":
                yield from write_image_folders(synthetic, record, to)
            case "npz":
                yield write_npz(synthetic, record, to / "synthetic.npz")
            case "hdf5":
                yield copy_file(folder / SYNTHETIC_H5, to / SYNTHETIC_H5)
                if (folder / WHITENING_H5).exists():
                    yield copy_file(folder / WHITENING_H5, to / WHITENING_H5)
            case "pt":
                yield from write_tensors(synthetic, to)
            case _:
                assert_never(form)
    yield write_text(to / CARD, data_card(synthetic, record, forms))


def copy_file(source: Path, to: Path) -> Path:
    """Copy a file, completely or not at all, and return the path of the copy."""
    with source.open("rb") as content, atomic_file(to) as file:
        shutil.copyfileobj(content, file)
    return to


def write_image_folders(synthetic: SyntheticSet, record: Record, to: Path) -> Iterator[Path]:
    """Write a PNG per image into a folder per class, and soft labels into a table beside them.

    Pixels are clipped to [0, 1] and rounded to 8 bits. Raises RecordError if they are not
    numbers, or neither grey nor RGB.
    """
    facts = record.plan.dataset.facts
    images = to_pixels(synthetic.images.numpy(), facts, whitening_of(synthetic))
    if not np.isfinite(images).all():
        raise RecordError(
            "the synthetic set has pixels that are not numbers, which PNG files cannot express",
            hint="export the arrays with --as npz",
        )
    if facts.channels not in (1, 3):
        raise RecordError(
            f"the images have {facts.channels} channels, which PNG files cannot express",
            hint="export the arrays with --as npz",
        )
    ipc = len(images) // facts.classes
    names = []
    for number, image in enumerate(np.round(images * 255).astype(np.uint8)):
        folder = class_folder(number // ipc, facts.class_names)
        names.append(f"images/{folder}/{number % ipc:05d}.png")
        path = to / names[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        png = io.BytesIO()
        shown.save(png, format="PNG")
        with naming_file(path):
            path.write_bytes(png.getbuffer())
    yield to / "images"
    if synthetic.is_soft:
        yield write_labels(synthetic, names, to / LABELS_CSV)


def whitening_of(synthetic: SyntheticSet) -> Whitening | None:
    """Return the whitening of a synthetic set; None if it is normalised by channel."""
    parts = synthetic.preprocessing
    if "zca_mean" not in parts:
        return None
    return Whitening(
        np.asarray(parts["zca_mean"], dtype=np.float64),
        np.asarray(parts["zca_values"], dtype=np.float64),
        np.asarray(parts["zca_vectors"], dtype=np.float32),
        float(parts["zca_epsilon"]),
        *(
            np.asarray(parts[name], dtype=np.float64) if name in parts else None
            for name in ("zca_scale", "zca_contrast")
        ),
    )


def class_folder(number: int, names: tuple[str, ...]) -> str:
    """Return number and name of a class, in characters that every file system accepts.

    Sorted by name, the folders are in the order of the classes.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", names[number]).strip("_")[:60]
    padded = f"{number:0{max(4, len(str(len(names) - 1)))}d}"
    return f"{padded}_{name}" if name else padded


def write_labels(synthetic: SyntheticSet, names: list[str], to: Path) -> Path:
    """Write a table of soft labels: the path of each image, and a probability per class."""
    header = ["image", *(f"class_{i}" for i in range(synthetic.labels.shape[1]))]
    shares = [[f"{share:.9g}" for share in row] for row in synthetic.labels.tolist()]
    rows = [[name, *row] for name, row in zip(names, shares, strict=True)]
    write_text(to, csv_text(header, rows))
    return to


def write_npz(synthetic: SyntheticSet, record: Record, to: Path) -> Path:
    """Write all arrays into one file that NumPy reads without pickle."""
    arrays: dict[str, Any] = {
        "images": synthetic.images.numpy(),
        "labels": synthetic.labels.numpy(),
        "student_lr": np.float32(synthetic.student_lr),
        "class_names": np.array(record.dataset.class_names),
        **synthetic.preprocessing,
    }
    with atomic_file(to) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return to


def write_tensors(synthetic: SyntheticSet, to: Path) -> Iterator[Path]:
    """Write the .pt files that public code of trajectory matching reads.

    The learning rate has a file too. MTT's code saves none, and without it a set cannot be
    evaluated faithfully. Each file is a zip archive; its comment names the iteration,
    so that an imported set is evaluated to the same bits.
    """
    tensors = {
        "images_best.pt": synthetic.images,
        "labels_best.pt": public_labels(synthetic),
        "lr_best.pt": torch.tensor(synthetic.student_lr),
    }
    for name, tensor in tensors.items():
        content = io.BytesIO()
        torch.save(tensor, content)
        with zipfile.ZipFile(content, "a") as archive:
            # torch does not read the comment; `ddspec import` does.
            archive.comment = ITERATION_COMMENT % synthetic.iteration
        with atomic_file(to / name) as file:
            file.write(content.getbuffer())
        yield to / name


def has_public_labels(synthetic: SyntheticSet) -> bool:
    """Return whether public code can read the labels: classes, or probabilities."""
    if not synthetic.is_soft:
        return True
    sums = synthetic.labels.double().sum(1)
    # Written so that a NaN fails the comparison.
    return bool((synthetic.labels >= 0).all() and ((sums - 1).abs() < 1e-3).all())


def public_labels(synthetic: SyntheticSet) -> Tensor:
    """Return labels as public code reads them: class numbers, or logits.

    DATM's code, which introduced files of soft labels, takes the softmax of what it reads. The
    softmax of the logarithm of probabilities gives these back. Raises RecordError if soft labels
    are not probabilities.
    """
    labels = synthetic.labels
    if not synthetic.is_soft:
        return labels
    if not has_public_labels(synthetic):
        raise RecordError(
            "the labels are not probabilities, so they have no logits for labels_best.pt",
            hint="export the arrays with --as npz",
        )
    # A probability of zero gets a finite logit, which is zero again after a softmax.
    return labels.clamp_min(torch.finfo(labels.dtype).tiny).log()
