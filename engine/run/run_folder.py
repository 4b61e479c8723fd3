"""What a run folder keeps beside the record: the synthetic set, and pictures of it.

`synthetic.h5` holds all that training on it needs: images in the space that networks are given
them in, with the mean and standard deviation or the whitening that leads there (and then the images
as pixels too); labels, the learned student_lr, the augmentation.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import DatasetStep, DistillStep, Plan
from ddspec.dsl.record.record import ImageSheet, Results
from ddspec.engine.numerics.whitening import Whitening
from ddspec.engine.store.artifacts import read_whitening
from ddspec.engine.store.store import CHECKED, Store, describe, whole

SYNTHETIC, SYNTHETIC_FORMAT = "synthetic.h5", 2
MOST_SHEETS = 11
PIXELS_OF_SHEETS = 12_000_000
"""Of all sheets but three; a second or two to write them."""


def keep_images(plan: Plan, results: Results, store: Store, folder: Path) -> tuple[ImageSheet, ...]:
    """Write synthetic.h5 of the chosen iteration, and sheets of it, of the first, the last and some
    between."""
    step: DistillStep = plan.step("distill")
    there = {m.number: m.digest for m in step.members if store.has("synthetic", m.digest)}
    if not there:
        return ()
    chosen = results.accuracy.iteration if results.accuracy else max(there)
    dataset: DatasetStep = plan.step("dataset")
    whitening = read_whitening(store, dataset) if dataset.dataset.zca else None
    write_synthetic(plan, chosen, there[chosen], store, whitening, folder / SYNTHETIC)
    return tuple(
        write_sheet(plan, number, there[number], store, whitening, folder)
        for number in sorted({min(there), chosen, max(there), *between(plan, sorted(there))})
    )


KEPT_TEXTS = ("spec.toml", "resolved.toml", "plan.json")


def checksums(folder: Path, sheets: Sequence[ImageSheet]) -> dict[str, str]:
    """SHA-256 of every file that a run keeps beside its record, as far as it is there."""
    names = [*KEPT_TEXTS, SYNTHETIC, *(f"images/{sheet.file}" for sheet in sheets)]
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def between(plan: Plan, there: Sequence[int]) -> list[int]:
    """Iterations to look at, evenly spread, as far as their pictures stay small."""
    facts, step = plan.step("dataset").facts, plan.step("distill")
    pixels = facts.classes * step.synthetic.ipc * facts.height * facts.width
    count = min(MOST_SHEETS, PIXELS_OF_SHEETS // pixels, len(there))
    if count < 2:
        return []
    return [there[round(place * (len(there) - 1) / (count - 1))] for place in range(count)]


def write_synthetic(
    plan: Plan,
    iteration: int,
    name: str,
    store: Store,
    whitening: Whitening | None,
    path: Path,
) -> None:
    """The synthetic set of one iteration with everything that training on it needs."""
    facts = plan.step("dataset").facts
    step: DistillStep = plan.step("distill")
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
    with whole(path) as beside, h5py.File(beside, "w", libver=CHECKED) as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
        describe(
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


def write_sheet(
    plan: Plan,
    iteration: int,
    name: str,
    store: Store,
    whitening: Whitening | None,
    folder: Path,
) -> ImageSheet:
    """A PNG with a row per class and an image per column."""
    facts = plan.step("dataset").facts
    with store.open("synthetic", name) as file:
        images = to_pixels(file["images"][()], facts, whitening)
    rows, columns = facts.classes, len(images) // facts.classes
    channels, height, width = images.shape[1:]
    grid = images.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    pixels = np.round(grid * 255).astype(np.uint8)
    sheet = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    file_name = f"iteration-{iteration:06d}.png"
    with whole(folder / "images" / file_name) as beside:
        sheet.save(beside, format="PNG")
    return ImageSheet(
        file=file_name,
        iteration=iteration,
        rows=rows,
        columns=columns,
        image_height=height,
        image_width=width,
    )


def to_pixels(
    images: NDArray[np.float32], facts: DatasetFacts, whitening: Whitening | None
) -> NDArray[np.float32]:
    """Images (n c h w) as networks are given them back in [0, 1], clipped, for looking at."""
    if whitening is not None:
        return np.clip(whitening.invert(images), 0, 1)
    mean = np.array(facts.mean, dtype=np.float32)[:, None, None]
    std = np.array(facts.std, dtype=np.float32)[:, None, None]
    return np.clip(images * std + mean, 0, 1)
