"""The files of a run folder beside the record: the synthetic set, and pictures of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddspec.dsl.atomic_write import atomic_file
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import (
    IMAGES,
    PLAN_JSON,
    RESOLVED_TOML,
    SPEC_TOML,
    SYNTHETIC_H5,
    WHITENING_H5,
)
from ddspec.dsl.record.record import Results
from ddspec.dsl.record.synthetic_set import ImageSheet
from ddspec.dsl.regular_file import sha256_of
from ddspec.engine.exchange.synthetic_file import to_pixels, write_synthetic_file
from ddspec.engine.numerics.whitening import Whitening
from ddspec.engine.store.artifacts import read_whitening
from ddspec.engine.store.store import Store

MOST_SHEETS = 11
PIXELS_OF_SHEETS = 12_000_000
"""Most pixels of all sheets but three, which take a second or two to write."""


def write_images(
    plan: Plan, results: Results, store: Store, folder: Path
) -> tuple[ImageSheet, ...]:
    """Write synthetic.h5 of the chosen iteration, and image sheets.

    Sheets show that iteration, the first, the last and some between."""
    sets = stored_sets(plan, store)
    if not sets:
        return ()
    chosen = chosen_iteration(results, list(sets))
    whitening = whitening_of(plan, store)
    write_synthetic_file(plan, chosen, sets[chosen], store, whitening, folder)
    sheets = expected_sheets(plan, results, list(sets))
    for sheet in sheets:
        picture = draw_sheet(plan, sets[sheet.iteration], store, whitening)
        with atomic_file(folder / IMAGES / sheet.file) as file:
            picture.save(file, format="PNG")
    return sheets


def whitening_of(plan: Plan, store: Store) -> Whitening | None:
    """Return the whitening of a plan's images; None if they are normalised."""
    return read_whitening(store, plan.dataset) if plan.dataset.dataset.zca else None


def stored_sets(plan: Plan, store: Store) -> dict[int, str]:
    """Return the digests of the synthetic sets that are stored, by iteration."""
    return {m.number: m.digest for m in plan.distill.members if store.has("synthetic", m.digest)}


def chosen_iteration(results: Results, sets: Sequence[int]) -> int:
    """Return the iteration of synthetic.h5: that of the result, or else the last of `sets`."""
    return results.accuracy.iteration if results.accuracy else max(sets)


KEPT_TEXTS = (SPEC_TOML, RESOLVED_TOML, PLAN_JSON)


def file_checksums(folder: Path, sheets: Sequence[ImageSheet]) -> dict[str, str]:
    """Return the SHA-256 of every existing file that a run keeps beside its record."""
    pictures = [f"{IMAGES}/{sheet.file}" for sheet in sheets]
    names = [*KEPT_TEXTS, SYNTHETIC_H5, WHITENING_H5, *pictures]
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


def evenly_spaced_iterations(plan: Plan, iterations: Sequence[int]) -> list[int]:
    """Return evenly spread iterations whose pictures together stay small."""
    facts, step = plan.dataset.facts, plan.distill
    pixels = facts.classes * step.synthetic.ipc * facts.height * facts.width
    count = min(MOST_SHEETS, PIXELS_OF_SHEETS // pixels, len(iterations))
    if count < 2:
        return []
    return [
        iterations[round(index * (len(iterations) - 1) / (count - 1))] for index in range(count)
    ]


def expected_sheets(plan: Plan, results: Results, sets: Sequence[int]) -> tuple[ImageSheet, ...]:
    """Return the image sheets of a run that has the synthetic sets of these iterations."""
    if not sets:
        return ()
    ends = {min(sets), chosen_iteration(results, sets), max(sets)}
    facts = plan.dataset.facts
    return tuple(
        ImageSheet(
            file=f"iteration-{iteration:06d}.png",
            iteration=iteration,
            rows=facts.classes,
            columns=plan.distill.synthetic.ipc,
            image_height=facts.height,
            image_width=facts.width,
        )
        for iteration in sorted({*ends, *evenly_spaced_iterations(plan, sorted(sets))})
    )


def draw_sheet(plan: Plan, name: str, store: Store, whitening: Whitening | None) -> Image.Image:
    """Return a picture of a synthetic set with a row per class and a column per image."""
    facts = plan.dataset.facts
    with store.open("synthetic", name) as file:
        images = to_pixels(file["images"][()], facts, whitening)
    rows, columns = facts.classes, len(images) // facts.classes
    channels, height, width = images.shape[1:]
    grid = images.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    pixels = np.round(grid * 255).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
