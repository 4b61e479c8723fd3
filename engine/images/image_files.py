"""Datasets kept as image files: checked, sorted by class, decoded into arrays."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts.class_names import folders_of
from ddspec.dsl.facts.datasets import DatasetFacts, FilesAccount, side_of
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.decode import TargetFormat, decode_image
from ddspec.engine.images.layout_hints import where_to_place
from ddspec.engine.images.layouts import ImageFiles
from ddspec.engine.images.open_image import (
    STORED_AT_ONCE,
    ImageFile,
    alone_if,
    is_large_file,
    limits_of_ddspec,
    open_image,
)
from ddspec.engine.images.raw_dataset import Pixels, RawDataset, Split

Result = TypeVar("Result")


def decode_dataset(
    images_found: ImageFiles, dataset: Dataset, known: DatasetFacts | None
) -> RawDataset:
    """Decode every image into one array, class-major.

    Raises DataError if a file is broken or does not fit, or if a class lacks images.
    """
    files = images_found.files
    class_of = {file.class_name: class_name(file, dataset, known) for file in files}
    names = class_names_of(images_found, class_of, dataset, known)
    number = {class_name: index for index, class_name in enumerate(names)}

    def label(file: ImageFile) -> int:
        return number[class_of[file.class_name]]

    ordered = sorted(files, key=lambda f: (f.split != "train", label(f), f.file_name))
    labels = np.array([label(file) for file in ordered], dtype=np.int64)
    count = sum(file.split == "train" for file in ordered)
    with limits_of_ddspec():
        images = decode_all(ordered, target_format(ordered, dataset, known))
    return RawDataset(
        train=Split(images[:count], labels[:count]),
        test=Split(images[count:], labels[count:]),
        class_names=names,
        white=255,
    )


def decode_all(files: Sequence[ImageFile], target: TargetFormat) -> Pixels:
    """Return all images as one array (n, channels, height, width)."""
    size = target.channels * target.height * target.width
    claim(
        len(files) * size,
        f"reading {len(files):,} images of {target.height}x{target.width} pixels "
        f"({files[0].label}, ...)",
        "a smaller dataset.resolution shrinks them",
    )
    images = np.empty((len(files), target.channels, target.height, target.width), np.uint8)

    def fill(index: int) -> None:
        images[index] = decode_image(files[index], target)

    for_each_as_stored(fill, files)
    return images


def for_each_as_stored(
    function: Callable[[int], Result], files: Sequence[ImageFile]
) -> list[Result]:
    """Return the results of a function of the index of each file, computed by threads.

    It is called in the order in which the images are stored, and raises the first error in it.
    """
    order = sorted(range(len(files)), key=lambda index: files[index].position)
    is_ordered = any(file.position for file in files)
    at_once = STORED_AT_ONCE if is_ordered else max(1, len(order))
    results: dict[int, Result] = {}
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(order), at_once):
            part = order[first : first + at_once]
            results.update(zip(part, pool.map(function, part), strict=True))
    return [results[index] for index in range(len(files))]


def class_name(file: ImageFile, dataset: Dataset, known: DatasetFacts | None) -> str:
    """Return the class that a file's folder means; raise DataError if it means none."""
    name = folders_of(dataset.name).get(file.class_name, file.class_name)
    if known is not None and name not in known.class_names:
        raise DataError(
            f'class "{file.class_name}" is not a class of {dataset.name}',
            hint=f"classes: {', '.join(known.class_names)}"[:300],
        )
    return name


def class_names_of(
    images_found: ImageFiles,
    class_of: Mapping[str, str],
    dataset: Dataset,
    known: DatasetFacts | None,
) -> tuple[str, ...]:
    """Return the classes that have images, in the dataset's order.

    Raises DataError if there are fewer than two, or if a class lacks one of the splits.
    """
    name = dataset.root or dataset.name
    train, test = (
        {class_of[file.class_name] for file in images_found.files if file.split == split}
        for split in ("train", "test")
    )
    in_order = known.class_names if known else images_found.classes or sorted(train)
    names = tuple(name for name in in_order if name in train)
    if len(names) < 2:
        classes = f'only one class, "{names[0]}"' if names else "no class"
        raise DataError(
            f"{name} has training images of {classes}; at least two classes are needed"
            f"{others_in_words(images_found.account)}",
            hint=f"place {where_to_place(name)}",
        )
    if not test:
        raise DataError(
            f"{name} has no test images{others_in_words(images_found.account)}",
            hint='name their folder "test" or "val", and in it place a folder for each class',
        )
    for lacking in sorted(train ^ test):
        problem = "no test images" if lacking in train else "test images, but none to train on"
        hint = f"classes: {', '.join(names)}"[:300]
        raise DataError(
            f'class "{lacking}" of {name} needs both splits: it has {problem}', hint=hint
        )
    return names


def others_in_words(account: FilesAccount) -> str:
    """Return the files that were passed over, for the end of a message."""
    return f"; passed over: {account.text}" if account.passed_over else ""


def target_format(
    files: Sequence[ImageFile], dataset: Dataset, known: DatasetFacts | None
) -> TargetFormat:
    """Return the format that all images are converted to.

    If neither the spec nor the dataset's facts fix it, images are grey if all are, and have the
    most frequent size.
    """
    side = side_of(dataset)
    channels = known.channels if known else {"auto": 0, "grey": 1, "rgb": 3}[dataset.color]
    size = (side, side) if side else (known.width, known.height) if known else None
    if not channels or size is None:

        def grey_and_size(index: int) -> tuple[bool, tuple[int, int]]:
            with alone_if(is_large_file(files[index])):
                head = open_image(files[index], side is not None)
                return head.is_grey, head.size

        heads = for_each_as_stored(grey_and_size, files)
        channels = channels or (1 if all(grey for grey, _ in heads) else 3)
        size = size or Counter(size for _, size in heads).most_common(1)[0][0]
    return TargetFormat(channels, size[1], size[0], side is not None, dataset.fit, dataset.alpha)
