"""A spec to begin with for a folder of one's own images, fitted to what is in it."""

import re
from dataclasses import dataclass
from math import log2
from pathlib import Path
from tempfile import TemporaryDirectory

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.toml_text import toml_text

KEPT_SIDE = 64
"""Square images up to this side keep their size; others are resized."""

USUAL_SIDES = (32, 16, 8)
"""Sides to which other images are resized: the largest that the images reach."""

TEST_SHARE = 0.2
"""Share of each class to test on, if the folder has no split."""

MANY_IMAGES = 50
"""Images of the smallest class from which on ten synthetic images per class are proposed."""

MANY_TRAINING_IMAGES = 2_000
"""Training images from which on a wider network is proposed."""

BATCHES_AN_EPOCH = 8
"""Least batches in an epoch of an expert; with fewer, its epochs are too short to be matched."""


@dataclass(frozen=True)
class ImageSettings:
    """How a folder has to be read, and what was read of it."""

    dataset: Dataset
    facts: DatasetFacts


def spec_for_images(folder: Path) -> str:
    """Return the text of a spec for a folder of images, with the reason of each setting.

    Raises SpecError if a spec cannot name the folder, and DataError if its images cannot be read,
    whatever the settings.
    """
    return spec_text(read_images(folder))


def dataset_named(root: str) -> Dataset:
    """Return the dataset of a folder of that name; raise SpecError if no spec can name it."""
    spec = f'ddspec = 1\nname = "images"\ndataset = {{ name = "folder", root = {toml_text(root)} }}'
    return parse_spec(f"{spec}\nsynthetic = {{ ipc = 1 }}\n", "the name of the folder").spec.dataset


def read_images(folder: Path) -> ImageSettings:
    """Read the images with the fewest settings that they need: a split, or a resolution."""
    dataset = dataset_named(folder.name)
    try:
        read = with_resolution(dataset, folder)
    except DataMissing:
        # A folder without a split is read if a share of it is drawn to test on.
        read = with_resolution(dataset.model_copy(update={"split": TEST_SHARE}), folder)
    height, width = read.facts.height, read.facts.width
    if height == width <= KEPT_SIDE:
        return read
    side = next((side for side in USUAL_SIDES if side <= min(height, width)), USUAL_SIDES[-1])
    return read_with(read.dataset.model_copy(update={"resolution": side}), folder)


def with_resolution(dataset: Dataset, folder: Path) -> ImageSettings:
    """Read images as they are, or resized if their sizes differ."""
    try:
        return read_with(dataset, folder)
    except DataMissing:
        raise
    except DataError:
        # If something else is wrong, this names it.
        return read_with(dataset.model_copy(update={"resolution": USUAL_SIDES[0]}), folder)


def read_with(dataset: Dataset, folder: Path) -> ImageSettings:
    """Read the images with these settings. Raises DataError if they do not fit."""
    from ddspec.engine.images.sources.ingest import dataset_facts
    from ddspec.engine.store.store import Store

    # Which store the spec will be used with is not known yet.
    with TemporaryDirectory() as store:
        return ImageSettings(dataset, dataset_facts(dataset, folder.parent, Store(Path(store))))


def spec_text(images: ImageSettings) -> str:
    """Return the spec for images that were read."""
    facts, dataset = images.facts, images.dataset
    assert dataset.root is not None
    side, fewest = min(facts.height, facts.width), min(facts.train_per_class)
    ipc = 10 if fewest >= MANY_IMAGES else 1
    depth = max(1, min(5, int(log2(side)) - 2))
    batch = batch_size(facts.train_count)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", dataset.root).strip("_-") or "images"
    resolution = [
        f"resolution = {dataset.resolution}".ljust(33)
        + "# the images differ in size, or are large; 64 takes four times as long"
    ] * (dataset.resolution is not None)
    split = [
        f"split = {dataset.split}".ljust(33) + "# the folder has no test images: a fifth is drawn"
    ] * (dataset.split is not None)
    lines = [
        "# Trajectory matching (MTT, arXiv:2203.11932) on images of your own.",
        f"# Read: {facts.text}, {facts.width}x{facts.height} pixels.",
        "# The settings are a cautious beginning, fitted to these images; no paper reports them.",
        "",
        "ddspec = 1",
        f'name = "{name[:60]}_ipc{ipc}"',
        "",
        "[dataset]",
        'name = "folder"',
        f"root = {toml_text(dataset.root)}",
        *split,
        *resolution,
        "",
        "[network]",
        f"depth = {depth}".ljust(33) + f"# each level halves the {side} pixels",
        f"width = {64 if facts.train_count >= MANY_TRAINING_IMAGES else 32}",
        "",
        "[augmentation]".ljust(33) + '# add "flip" if a mirrored image shows the same class',
        'families = ["color", "crop", "cutout", "scale", "rotate"]',
        "",
        "[experts]",
        "count = 10",
        "epochs = 20",
        f"batch_size = {batch}".ljust(33)
        + f"# {-(-facts.train_count // batch)} batches an epoch of {facts.train_count} images",
        "optimizer = { lr = 0.01 }",
        "",
        "[synthetic]",
        f"ipc = {ipc}".ljust(33) + f"# the smallest class has {fewest} training images",
        'student_lr = { init = 0.01, lr = 1e-7, positivity = "hold" }   # moves little at first',
        "images = { lr = 100.0 }",
        "",
        "[matching]",
        "iterations = 300",
        "syn_steps = 10",
        "expert_epochs = 2",
        "max_start_epoch = 10",
        *([f"batch_syn = {BATCH_SYN}"] if facts.classes * ipc > BATCH_SYN else []),
        "",
        "[evaluation]",
        "repeats = 3",
        "every = 100",
        "epochs = 300",
    ]
    return "\n".join(lines) + "\n"


BATCH_SYN = 100
"""Most synthetic images of one student step."""


def batch_size(images: int) -> int:
    """Return the largest power of two up to 256 that leaves BATCHES_AN_EPOCH batches."""
    exponent = int(log2(max(2, images / BATCHES_AN_EPOCH)))
    return 1 << min(8, exponent)
