"""Import of a synthetic set that was made elsewhere.

What the files do not say is never guessed: the space of the pixels, whether soft labels are
probabilities or logits, and which of several sets is meant are asked for. Everything is checked
against what is known of the dataset before the set enters the store.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, prepared
from ddspec.dsl.record.synthetic_set import ImportedSet, PixelSpace, SetFile
from ddspec.dsl.regular_file import sha256_of
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terms import PixelSpaceName, Statistics
from ddspec.engine.exchange.set_content import SetContent, read_content
from ddspec.engine.store.imported_set import (
    Images,
    Labels,
    array_sha256,
    named_set,
    put_set,
    shape_text,
)
from ddspec.engine.store.store import Store

TEACHER_METHODS = ("SRe2L", "SRe2L++", "CDA", "G-VBSM", "RDED", "D4M", "EDC", "DWA", "LPLD")
"""Methods whose networks are taught by a teacher's labels for every augmented image."""

PIXELS_HINT = (
    "--pixels unit: they lie in [0, 1]; --pixels normalized: by the dataset's mean and standard "
    "deviation, or by those of --mean and --std; --pixels whitened: by ZCA of the training images"
)


@dataclass(frozen=True)
class SetOptions:
    """What an importer says of a set that its files do not."""

    dataset: str
    pixels: PixelSpaceName | None = None
    mean: tuple[float, ...] = ()
    """Statistics of normalised pixels; if empty, `statistics` says whose they are."""
    std: tuple[float, ...] = ()
    statistics: Statistics = "own"
    lr: float | None = None
    logits: bool = False
    """Whether soft labels are logits."""
    number: int | None = None
    """Which of several sets in one file."""
    class_order: tuple[str, ...] = ()
    resolution: int | None = None
    """Side of the images, if it is not that of the dataset."""
    iteration: int | None = None
    """Iteration of the run of ddspec that made it."""
    source: str = ""
    fixed_labels: bool = False
    """Whether the labels are to be judged although a teacher makes those of the method."""


def import_set(paths: Sequence[Path], options: SetOptions, store: Store) -> ImportedSet:
    """Put the set in these files into a store and return what it is.

    Raises DataError if the files contain no set, do not say enough of it, or do not fit the
    dataset.
    """
    refuse_teachers_labels(options)
    content = gathered(paths, options)
    assert content.images is not None  # `gathered` refuses a set without images
    facts = known_facts(Dataset(name=options.dataset, resolution=options.resolution))
    images = np.ascontiguousarray(content.images, dtype=np.float32)
    check_images(images, facts, options)
    names = class_names(content, facts, options)
    labels = checked_labels(content, images, len(names) or None, facts, options)
    classes = len(names) or (labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1)
    images, labels = by_class(images, labels, classes)
    pixels = space_of(content, images, facts, options)
    rate = options.lr if options.lr is not None else content.student_lr
    if rate is not None and not (np.isfinite(rate) and 0 < rate <= 1e6):
        raise DataError(
            f"the learning rate {rate:g} is not a positive number",
            hint="give another one with --lr, with which its authors evaluate the set",
        )
    is_usual = facts is not None and names == facts.class_names
    described = named_set(
        {
            "dataset": options.dataset,
            "classes": classes,
            "ipc": len(images) // classes,
            "channels": images.shape[1],
            "height": images.shape[2],
            "width": images.shape[3],
            "pixels": pixels.model_dump(),
            "labels": "soft" if labels.ndim == 2 else "hard",
            "class_names": () if is_usual else names,
            "student_lr": None if rate is None else float(np.float32(rate)),
            "images_sha256": array_sha256(images),
            "labels_sha256": array_sha256(labels),
            "iteration": options.iteration or content.iteration or 0,
            "partition": content.partition,
            "files": [file.model_dump() for file in files_of(paths)],
            "source": options.source or content.source,
        }
    )
    put_set(store, described, images, labels)
    return described


def refuse_teachers_labels(options: SetOptions) -> None:
    """Raise DataError for a method whose labels a teacher makes while networks are trained."""
    words = {word.lower() for word in re.findall(r"[A-Za-z0-9+-]+", options.source)}
    named = next((name for name in TEACHER_METHODS if name.lower() in words), None)
    if named is not None and not options.fixed_labels:
        raise DataError(
            f"networks of {named} are taught by labels that a teacher makes for every augmented "
            "image during training, which is not judged here",
            hint="--fixed-labels judges the images with one label each; that is not the accuracy "
            f"of {named}",
        )


def gathered(paths: Sequence[Path], options: SetOptions) -> SetContent:
    """Return what all files together contain; raise DataError if two contain the same."""
    whole, owner = SetContent(), dict[str, Path]()
    for path in paths:
        part = read_content(path, options.number)
        if part.has_other_labels:
            raise DataError(
                f"{path.name}: its labels are neither classes nor probabilities, so it cannot be "
                "imported or shared as a set",
                hint="share the run's spec or report: ddspec reproduce makes the set again",
            )
        for name in ("images", "labels", "student_lr"):
            value = getattr(part, name)
            if value is None:
                continue
            if name in owner:
                what = "learning rate" if name == "student_lr" else name
                raise DataError(f"both {owner[name].name} and {path.name} contain {what}")
            owner[name] = path
            whole = replace(whole, **{name: value})
        whole = replace(
            whole,
            pixels=part.pixels or whole.pixels,
            class_names=part.class_names or whole.class_names,
            iteration=part.iteration or whole.iteration,
            partition=max(part.partition, whole.partition),
            source=part.source or whole.source,
        )
    if whole.images is None:
        raise DataError(
            "these files contain no images",
            hint="give the file of the images to --synthetic, and that of the labels to --labels",
        )
    return whole


def check_images(images: Images, facts: DatasetFacts | None, options: SetOptions) -> None:
    """Raise DataError if images are not those of the dataset, or not numbers."""
    if images.ndim != 4 or not images.size:
        raise DataError(f"the images have shape {images.shape}, not (n, channels, height, width)")
    channels, height, width = images.shape[1:]
    if channels not in (1, 3) and width in (1, 3):
        raise DataError(
            f"the images have shape {images.shape}, with the channels last",
            hint="permute the axes to (n, channels, height, width) and save them again",
        )
    wanted = (facts.channels, facts.height, facts.width) if facts is not None else None
    if wanted is not None and wanted != (channels, height, width):
        raise DataError(
            f"the images have {shape_text((channels, height, width))}, but those of "
            f"{options.dataset} have {shape_text(wanted)}",
            hint="name the dataset that the set was made for with --dataset",
        )
    if not np.isfinite(images).all():
        raise DataError("the images have pixels that are not finite numbers")


def class_names(
    content: SetContent, facts: DatasetFacts | None, options: SetOptions
) -> tuple[str, ...]:
    """Return the classes in the order of the labels; none if nothing says which there are."""
    names = options.class_order or content.class_names
    if facts is None or not names:
        return names or (facts.class_names if facts is not None else ())
    unknown = next((name for name in names if name not in facts.class_names), None)
    if unknown is not None and not options.class_order and is_numbered(names):
        # Folders named 0, 1, 2, ... mean the labels of the dataset.
        return tuple(facts.class_names[int(name)] for name in names if int(name) < facts.classes)
    if unknown is not None:
        raise DataError(
            f'"{unknown}" is not a class of {options.dataset}',
            hint=f"classes: {', '.join(facts.class_names)}"[:300],
        )
    if len(set(names)) < len(names):
        raise DataError("a class is named twice in the order of the classes")
    return names


def is_numbered(names: Sequence[str]) -> bool:
    """Return whether names are whole numbers."""
    return all(name.isascii() and name.isdigit() and len(name) < 9 for name in names)


def checked_labels(
    content: SetContent,
    images: Images,
    classes: int | None,
    facts: DatasetFacts | None,
    options: SetOptions,
) -> Labels:
    """Return labels as class numbers or probabilities.

    Raises DataError if there are none, or if they do not fit the images and the classes.
    """
    labels, count = content.labels, len(images)
    if labels is None:
        raise DataError(
            f"nothing says of which classes the {count} images are",
            hint="give the file of the labels with --labels",
        )
    if labels.ndim not in (1, 2):
        raise DataError(f"the labels have shape {labels.shape}, not one row or number per image")
    if len(labels) != count:
        raise DataError(f"there are {count} images, but {len(labels)} labels")
    if labels.ndim == 2 and labels.shape[1] > 1:
        if classes is not None and labels.shape[1] != classes:
            raise DataError(
                f"the labels have {labels.shape[1]} classes, but {options.dataset} has {classes}"
            )
        return soft_labels(labels.astype(np.float32), options)
    numbers = labels.reshape(-1)
    # Infinity equals its rounded value.
    whole = np.isfinite(numbers).all() and np.equal(numbers, np.round(numbers)).all()
    if not whole or numbers.min() < 0:
        raise DataError("the labels are neither numbers of classes nor a row of them per image")
    most = int(numbers.max())
    if classes is not None and most >= classes:
        raise DataError(
            f"there is a label {most}, but the {classes} classes are numbered from 0 to "
            f"{classes - 1}"
        )
    if options.logits:
        raise DataError("the labels are numbers of classes, not logits", hint="leave out --logits")
    return numbers.astype(np.int64)


def soft_labels(labels: NDArray[np.float32], options: SetOptions) -> NDArray[np.float32]:
    """Return labels as probabilities; raise DataError if it is not clear that they are."""
    if not np.isfinite(labels).all():
        raise DataError("the labels have entries that are not finite numbers")
    if options.logits:
        shares = softmax(labels.astype(np.float64), axis=1)
        return np.asarray(shares, dtype=np.float32)
    sums = labels.astype(np.float64).sum(axis=1)
    if labels.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise DataError(
            "the soft labels are not probabilities: they lie between "
            f"{labels.min():.3g} and {labels.max():.3g}, and rows sum to {sums.min():.3g} to "
            f"{sums.max():.3g}",
            hint="--logits takes their softmax, as DATM's code does; targets of a regression "
            "(FRePo) and weights of classes (RaT-BPTT) are not imported",
        )
    return labels


def by_class(images: Images, labels: Labels, classes: int) -> tuple[Images, Labels]:
    """Return a set ordered by class; raise DataError if classes differ in their images.

    An image with a soft label belongs to the class of its place, if most of them are in the order
    of the classes by their largest share; otherwise to the class of that share.
    """
    count = len(images)
    numbers = labels.argmax(axis=1) if labels.ndim == 2 else labels
    if labels.ndim == 2 and count % classes == 0:
        in_order = np.repeat(np.arange(classes), count // classes)
        if (numbers == in_order).mean() > 0.5:
            return images, labels
    counts = np.bincount(numbers, minlength=classes)
    if counts.min() != counts.max():
        fewest, most = int(counts.argmin()), int(counts.argmax())
        raise DataError(
            f"class {fewest} has {counts[fewest]} images, but class {most} has {counts[most]}",
            hint="sets with as many images in every class are read",
        )
    order = np.argsort(numbers, kind="stable")
    return np.ascontiguousarray(images[order]), sorted_labels(labels, order)


def sorted_labels(labels: Labels, order: NDArray[np.int64]) -> Labels:
    """Return labels in another order."""
    if labels.dtype == np.int64:
        return np.ascontiguousarray(labels[order], dtype=np.int64)
    return np.ascontiguousarray(labels[order], dtype=np.float32)


def space_of(
    content: SetContent, images: Images, facts: DatasetFacts | None, options: SetOptions
) -> PixelSpace:
    """Return the space of the pixels; raise DataError if nothing says it, or if it cannot be."""
    low, high = float(images.min()), float(images.max())
    seen = f"the pixels lie between {low:.3g} and {high:.3g}"
    if content.pixels is not None and options.pixels not in (None, content.pixels.name):
        raise DataError(
            f"the file says that its pixels are {content.pixels.text}, "
            f"but --pixels says {options.pixels}"
        )
    if content.pixels is None and options.pixels is None:
        raise DataError(f"{seen}, and nothing says what they are", hint=PIXELS_HINT)
    space = content.pixels or asked_space(facts, options)
    if len(space.mean) not in (0, images.shape[1]):
        raise DataError(
            f"the mean has {len(space.mean)} numbers, but images have {images.shape[1]} channels"
        )
    if space.name == "unit" and (low < -0.5 or high > 1.5):
        raise DataError(f"{seen}, which are not pixels in [0, 1]", hint=PIXELS_HINT)
    if space.name != "unit" and low >= 0 and high <= 1:
        raise DataError(f"{seen}: they are not {space.name}, but in [0, 1]", hint=PIXELS_HINT)
    return space


def asked_space(facts: DatasetFacts | None, options: SetOptions) -> PixelSpace:
    """Return the space that the importer names."""
    assert options.pixels is not None
    if options.pixels != "normalized":
        return PixelSpace(name=options.pixels)
    if options.mean or options.std:
        if len(options.mean) != len(options.std) or min(options.std) <= 0:
            raise DataError("--mean and --std must have a number per channel, std above 0")
        return PixelSpace(name="normalized", mean=options.mean, std=options.std)
    if facts is None:
        raise DataError(
            f"the statistics of a dataset named {options.dataset} are not known beforehand",
            hint="give --mean and --std, with a number per channel",
        )
    seen = prepared(facts, Dataset(name=options.dataset, statistics=options.statistics))
    return PixelSpace(name="normalized", mean=seen.mean, std=seen.std)


def files_of(paths: Sequence[Path]) -> Iterator[SetFile]:
    """Yield name and checksum of every file of a set, those of a folder of images one by one."""
    for path in paths:
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in members:
            name = file.name if file == path else file.relative_to(path.parent).as_posix()
            yield SetFile(name=name, sha256=sha256_of(file))
