"""Datasets kept as image files: in folders or zip files, found, sorted, decoded one by one."""

import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts.class_names import folders_of
from ddspec.dsl.facts.datasets import DatasetFacts, side_of
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.decode import ImageFile, TargetFormat, decode_image, is_grey, open_image
from ddspec.engine.images.raw_dataset import RawDataset, Split

SPLIT_NAMES = {"train": ("train",), "test": ("test", "val")}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ImageFiles:
    """All images of a dataset that is kept as image files, in no particular order."""

    files: Sequence[ImageFile]
    state: Sequence[str]


def image_files(
    folder: Path, name: str, classes: Container[str] | None = None
) -> ImageFiles | None:
    """Images of a dataset as zip files by split, one zip file, or folders; None: none of them.

    Of folders with many classes those in `classes` alone are looked at.
    """
    base = folder / name
    by_split = {split: split_archives(base, words) for split, words in SPLIT_NAMES.items()}
    if by_split["train"]:
        archives = [(path, split) for split, paths in by_split.items() for path in paths]
        files = [file for path, split in archives for file in zip_members(path, split)]
        return ImageFiles(files, [file_state(path) for path, _ in archives])
    archive = folder / f"{name}.zip"
    if archive.is_file():
        return ImageFiles(zip_members(archive, None), [file_state(archive)])
    if (base / "train").is_dir():
        return listed_files(
            (split, path.parent.name, path)
            for split, words in SPLIT_NAMES.items()
            for path in split_images(base, words, classes)
        )
    return None


def listed_files(found: Iterable[tuple[str, str, Path]]) -> ImageFiles:
    """Plain files, each with its split and its class."""
    files, state = [], []
    for split, class_name, path in found:
        files.append(ImageFile(split, class_name, path.name, path.read_bytes))
        state.append(f"{split}/{class_name}/{file_state(path)}")
    return ImageFiles(files, state)


TINY_FOLDER, TINY_LABELS = "tiny-imagenet-200", "val_annotations.txt"


def tiny_imagenet_as_published(folder: Path) -> ImageFiles | None:
    """Tiny ImageNet as its archive unpacks: the test images in one folder, labels in a text."""
    base = folder / TINY_FOLDER
    labels = base / "val" / TINY_LABELS
    if not labels.is_file():
        return None
    named = (line.split("\t") for line in labels.read_text().splitlines())
    class_of = {fields[0]: fields[1] for fields in named if len(fields) > 1}

    def found() -> Iterator[tuple[str, str, Path]]:
        for path in sorted((base / "train").glob("*/images/*")):
            if is_image(path.name):
                yield "train", path.parent.parent.name, path
        for path in sorted((base / "val" / "images").glob("*")):
            if path.name in class_of:
                yield "test", class_of[path.name], path

    return listed_files(found())


def split_archives(base: Path, words: Sequence[str]) -> list[Path]:
    """Zip files of the first of the named splits that has any."""
    for word in words:
        found = sorted({*base.glob(f"{word}.zip"), *base.glob(f"{word}-*.zip")})
        if found:
            return found
    return []


def split_images(base: Path, words: Sequence[str], classes: Container[str] | None) -> list[Path]:
    """Image files below the first of the named folders that is there, in sorted order."""
    for word in words:
        folders = [path for path in sorted((base / word).glob("*")) if path.is_dir()]
        asked = [path for path in folders if classes is None or path.name in classes]
        found = [path for one in asked for path in sorted(one.iterdir()) if is_image(path.name)]
        if found:
            return found
    return []


def is_image(name: str) -> bool:
    """Whether a file name is an image's, and not a hidden file."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def zip_members(path: Path, split: str | None) -> list[ImageFile]:
    """Images in a zip file: CLASS/FILE of a given split, or SPLIT/CLASS/FILE."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name} is not a readable zip file ({first_line(error)})") from error
    found = []
    names = [info.filename for info in archive.infolist()]
    words = {name.split("/")[0] for name in names if is_image(name.split("/")[-1])}
    for info in archive.infolist():
        parts = info.filename.split("/")
        if info.is_dir() or not is_image(parts[-1]):
            continue
        if len(parts) != (2 if split else 3):
            continue
        if info.file_size > MAX_FILE_BYTES:
            raise DataError(f"{path.name}: {info.filename} claims {info.file_size} bytes")
        member_split = split or split_named(parts[0], words)
        if member_split is not None:
            read = zip_reader(archive, info)
            found.append(ImageFile(member_split, parts[-2], parts[-1], read))
    return found


def zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    """Reads one member when it is called."""
    return lambda: archive.read(info)


def split_named(word: str, there: Container[str]) -> str | None:
    """Return the split that a folder name means; `val` counts as test if there is no test split."""
    for split, words in SPLIT_NAMES.items():
        if word == next((name for name in words if name in there), None):
            return split
    return None


def decode_dataset(
    files: Sequence[ImageFile], dataset: Dataset, known: DatasetFacts | None
) -> RawDataset:
    """Read every image, one at a time into one array.

    Raises DataError that names what is broken or does not fit.
    """
    name = dataset.root or dataset.name
    class_of = {file.class_name: class_name(file, dataset, known) for file in files}
    names = class_names_of(files, class_of, name, known)
    number = {class_name: index for index, class_name in enumerate(names)}

    def label(file: ImageFile) -> int:
        return number[class_of[file.class_name]]

    ordered = sorted(files, key=lambda f: (f.split != "train", label(f), f.file_name))
    labels = np.array([label(file) for file in ordered], dtype=np.int64)
    count = sum(file.split == "train" for file in ordered)
    wanted = target_format(ordered, dataset, known)
    images = np.empty((len(ordered), wanted.channels, wanted.height, wanted.width), np.uint8)

    def fill(index: int) -> None:
        images[index] = decode_image(ordered[index], wanted)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, range(len(ordered))):
            pass  # Raises what a file raised.
    return RawDataset(
        train=Split(images[:count], labels[:count]),
        test=Split(images[count:], labels[count:]),
        class_names=names,
        white=255,
    )


def class_name(file: ImageFile, dataset: Dataset, known: DatasetFacts | None) -> str:
    """The class that a folder means. Raises DataError where it means none."""
    found = folders_of(dataset.name).get(file.class_name, file.class_name)
    if known is not None and found not in known.class_names:
        raise DataError(
            f'class "{file.class_name}" is not a class of {dataset.name}',
            hint=f"classes: {', '.join(known.class_names)}"[:300],
        )
    return found


def class_names_of(
    files: Sequence[ImageFile],
    class_of: Mapping[str, str],
    name: str,
    known: DatasetFacts | None,
) -> tuple[str, ...]:
    """Classes with training images, in the dataset's order, each of which has test images too."""
    train, test = (
        {class_of[file.class_name] for file in files if file.split == split}
        for split in ("train", "test")
    )
    names = tuple(c for c in known.class_names if c in train) if known else tuple(sorted(train))
    if len(names) < 2:
        raise DataError(
            f'"{name}" has training images of {len(names)} classes; at least two are needed',
            hint=where_to_place(name),
        )
    if not test:
        raise DataError(f"{name} has no test images", hint=where_to_place(name))
    for odd in sorted(train ^ test):
        what = "no test images" if odd in train else "test images, but none to train on"
        hint = f"classes: {', '.join(names)}"[:300]
        raise DataError(f'class "{odd}" of {name} needs both splits: it has {what}', hint=hint)
    return names


def target_format(
    files: Sequence[ImageFile], dataset: Dataset, known: DatasetFacts | None
) -> TargetFormat:
    """What all images are brought to; where nothing says it, what most of them are."""
    side = side_of(dataset)
    channels = known.channels if known else {"auto": 0, "grey": 1, "rgb": 3}[dataset.color]
    size = (side, side) if side else (known.width, known.height) if known else None
    if not channels or size is None:
        with ThreadPoolExecutor() as pool:
            heads = list(pool.map(lambda f: (is_grey(i := open_image(f)), i.size), files))
        channels = channels or (1 if all(grey for grey, _ in heads) else 3)
        size = size or Counter(size for _, size in heads).most_common(1)[0][0]
    return TargetFormat(channels, size[1], size[0], side is not None, dataset.fit, dataset.alpha)


def where_to_place(name: str) -> str:
    """What to place where, for datasets kept as image files."""
    return (
        f"image files as {name}/train/CLASS/FILE and {name}/test/CLASS/FILE, or zip files "
        f"{name}/train-*.zip and {name}/test-*.zip with members CLASS/FILE, or one {name}.zip "
        f"with members train/CLASS/FILE; --data or $DDSPEC_DATA says which folder that is in"
    )


def first_line(error: BaseException) -> str:
    """The first line of a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def file_state(path: Path) -> str:
    """Name, size and time of a file."""
    state = path.stat()
    return f"{path.name} {state.st_size} {state.st_mtime_ns}"
