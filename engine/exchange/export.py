"""Export of a run's synthetic set: images, NumPy, HDF5, and tensors for public code.

Everything comes from `synthetic.h5`; the record adds the text of the data card.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_never, get_args

import numpy as np
import torch
from PIL import Image

from ddspec.dsl.atomic_write import atomic_write, write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import DatasetStep, DistillStep, EvaluateStep
from ddspec.dsl.record.file_names import SYNTHETIC_H5
from ddspec.dsl.record.record import Record
from ddspec.dsl.terms import ExportForm
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
    folder: Path, record: Record, to: Path, forms: tuple[ExportForm, ...] = FORMS
) -> list[Path]:
    """Write the set in every form asked for, and a card that says how to train on it.

    Raises RecordError if `to` is not empty, or if the set is damaged or was altered. Files
    that were written until then are removed.
    """
    nowhere = to.is_symlink() and not to.exists()
    if nowhere or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise RecordError(f"{to} exists and is not empty", hint="choose another folder with --to")
    synthetic = read_synthetic_set(folder, record)
    check_unaltered(folder, record)
    try:
        return list(write_forms(synthetic, folder, record, to, forms))
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def write_forms(
    synthetic: SyntheticSet, folder: Path, record: Record, to: Path, forms: tuple[ExportForm, ...]
) -> Iterator[Path]:
    """Write each form, then the card; yield their paths."""
    to.mkdir(parents=True, exist_ok=True)
    for form in forms:
        match form:
            case "images":
                yield write_image_folders(synthetic, record, to / "images")
            case "npz":
                yield write_npz(synthetic, record, to / "synthetic.npz")
            case "hdf5":
                yield Path(shutil.copyfile(folder / SYNTHETIC_H5, to / SYNTHETIC_H5))
            case "pt":
                yield from write_tensors(synthetic, to)
            case _:
                assert_never(form)
    yield write_text(to / CARD, card(synthetic, record, forms))


def write_image_folders(synthetic: SyntheticSet, record: Record, to: Path) -> Path:
    """Write a PNG per image into a folder per class.

    Pixels are clipped to [0, 1] and rounded to 8 bits.
    """
    step = record.plan.dataset
    parts = synthetic.preprocessing
    whitening = None
    if "zca_mean" in parts:
        whitening = Whitening(
            np.asarray(parts["zca_mean"], dtype=np.float64),
            np.asarray(parts["zca_values"], dtype=np.float64),
            np.asarray(parts["zca_vectors"], dtype=np.float32),
            float(parts["zca_epsilon"]),
        )
    images = to_pixels(synthetic.images.numpy(), step.facts, whitening)
    pixels = np.round(images * 255).astype(np.uint8)
    ipc = len(pixels) // step.facts.classes
    for number, image in enumerate(pixels):
        class_path = to / class_folder(number // ipc, step.facts.class_names)
        class_path.mkdir(parents=True, exist_ok=True)
        shown = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        shown.save(class_path / f"{number % ipc:05d}.png")
    return to


def class_folder(number: int, names: tuple[str, ...]) -> str:
    """Return number and name of a class, in characters that every file system accepts."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", names[number]).strip("_")[:60]
    return f"{number:04d}_{name}" if name else f"{number:04d}"


def write_npz(synthetic: SyntheticSet, record: Record, to: Path) -> Path:
    """Write all arrays into one file that NumPy reads without pickle."""
    arrays: dict[str, Any] = {
        "images": synthetic.images.numpy(),
        "labels": synthetic.labels.numpy(),
        "student_lr": np.float32(synthetic.student_lr),
        "class_names": np.array(record.dataset.class_names),
        **synthetic.preprocessing,
    }
    with atomic_write(to) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return to


def write_tensors(synthetic: SyntheticSet, to: Path) -> Iterator[Path]:
    """Write the .pt files that public code of trajectory matching reads.

    The learning rate has a file too. MTT's code saves none, and without it a set cannot be
    evaluated faithfully.
    """
    tensors = {
        "images_best.pt": synthetic.images,
        "labels_best.pt": synthetic.labels,
        "lr_best.pt": torch.tensor(synthetic.student_lr),
    }
    for name, tensor in tensors.items():
        torch.save(tensor, to / name)
        yield to / name


def card(synthetic: SyntheticSet, record: Record, forms: tuple[ExportForm, ...]) -> str:
    """Return the data card: what the set is, how to train on it, and its origin."""
    facts, step = record.dataset, record.plan.distill
    assert isinstance(step, DistillStep)
    evaluated: EvaluateStep = record.plan.evaluations("distilled")[0]
    accuracy, dataset = record.results.accuracy, record.plan.dataset
    assert isinstance(dataset, DatasetStep)
    shape = f"{facts.channels} x {facts.height} x {facts.width}"
    lines = [
        f"# {plain(record.title or record.name)}",
        "",
        f"{facts.classes} classes with {step.synthetic.ipc} synthetic images each, of {shape}, "
        f"distilled from {plain(dataset.dataset.name)} by ddspec "
        f"{plain(record.environment.ddspec)}; "
        f"iteration {synthetic.iteration:,} of {step.matching.iterations:,}.",
        "",
    ]
    if record.plan.preview:
        lines += ["**A preview, shrunk to minutes: it says nothing about the method.**", ""]
    if record.outcome.status != "done":
        lines += [f"**The run did not end as planned ({record.outcome.status}).**", ""]
    if accuracy is not None:
        lines += [
            f"Test accuracy {accuracy.mean:.2f} +- {accuracy.std:.2f} % over {accuracy.n} fresh "
            f"networks ({accuracy.network}; chosen as `{accuracy.choose}`).",
            "",
        ]
    lines += ["## Files", "", *(f"- {FORM_WORDS[form]}" for form in forms), ""]
    lines += training(synthetic, evaluated)
    lines += [
        "## Origin",
        "",
        f"- plan `{record.plan.digest}`, images of fingerprint `{facts.fingerprint}`",
        "- the run's record and report reproduce it: `ddspec reproduce record.json`",
        "- it is derived from the dataset named above, whose terms of use apply to it",
        "",
        "Classes, in the order of their labels: "
        + ", ".join(f"{i} {plain(name)}" for i, name in enumerate(facts.class_names)),
        "",
    ]
    return "\n".join(lines)


FORM_WORDS: dict[ExportForm, str] = {
    "images": "`images/`: a PNG per image, to look at; clipped to [0, 1] and rounded to 8 bits, so "
    "train on the arrays",
    "npz": "`synthetic.npz`: all arrays, for `numpy.load` without pickle",
    "hdf5": "`synthetic.h5`: the file of the run folder",
    "pt": "`images_best.pt`, `labels_best.pt`: tensors as public code of trajectory matching reads "
    "them; `lr_best.pt`: the learning rate to train with",
}


def training(synthetic: SyntheticSet, step: EvaluateStep) -> list[str]:
    """Return how networks were trained to get the accuracy."""
    soft = synthetic.labels.ndim == 2
    if "zca_mean" in synthetic.preprocessing:
        prepared = (
            "The arrays are whitened. Transform test images in the same way: pixels in [0, 1], "
            "channels first and flat, minus `zca_mean`, times "
            "V diag((`zca_values` + `zca_epsilon`)^-1/2) V', V being `zca_vectors`."
        )
    else:
        mean, std = (synthetic.preprocessing[key].tolist() for key in ("mean", "std"))
        prepared = (
            f"The arrays are normalised: (pixels in [0, 1] - {mean}) / {std}. Normalise test "
            "images in the same way."
        )
    families = ", ".join(step.augmentation.families) or "none"
    network = step.network.model_dump(mode="json")
    return [
        "## How to train on it",
        "",
        f"- {prepared}",
        f"- Labels are {'probabilities; use cross-entropy on them' if soft else 'classes'}.",
        f"- SGD with learning rate {synthetic.student_lr:.6g}, as learned, "
        f"momentum 0.9, weight decay 0.0005, batches of {step.evaluation.batch_size}, shuffled.",
        f"- {step.evaluation.epochs} epochs; {DROPS[step.evaluation.protocol]}.",
        f"- Differentiable siamese augmentation on training batches: {families}.",
        f"- Network: `{json.dumps(network)}`.",
        "",
    ]


DROPS = {
    "mtt": "after (epochs - 1) // 2 + 2 of them a tenth of the learning rate, with a new optimiser",
    "ast": "in the second half the learning rate is halved, momentum 0.8 and weight decay 0.001; "
    "the best of tests every 20 epochs counts",
}


def plain(text: str) -> str:
    """Return a stranger's text on one line, without meaning to Markdown or HTML."""
    return " ".join(re.sub(r"[\[\]()<>`*_#|\\]+", " ", text).split())
