"""Datasets kept as image files, in folders or zip files: found, checked, sorted, decoded."""

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
"""Folder or archive names of each split; the first of them that exists is read."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = 64 * 2**20
"""Larger members of zip files are refused before they are unpacked."""


@dataclass(frozen=True)
class ImageFiles:
    """All images of a dataset that is kept as image files, in no particular order."""

    files: Sequence[ImageFile]
    state: Sequence[str]
    """Name, size and time of the files or archives, by which a change is noticed."""


def image_files(
    folder: Path, name: str, classes: Container[str] | None = None
) -> ImageFiles | None:
    """Return the image files of a dataset; None if there are none.

    Looks for zip files by split, then for one zip file, then for folders. Of folders, only the
    classes in `classes` are read, unless it is None.
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


def listed_files(paths: Iterable[tuple[str, str, Path]]) -> ImageFiles:
    """Return files on disk as image files; each comes with its split and class."""
    files, state = [], []
    for split, class_name, path in paths:
        files.append(ImageFile(split, class_name, path.name, path.read_bytes))
        state.append(f"{split}/{class_name}/{file_state(path)}")
    return ImageFiles(files, state)


TINY_FOLDER, TINY_LABELS = "tiny-imagenet-200", "val_annotations.txt"


def tiny_imagenet_as_published(folder: Path) -> ImageFiles | None:
    """Return Tiny ImageNet as its archive unpacks; None if it is not in the folder.

    All test images lie in one folder there, and a text file names the class of each.
    """
    base = folder / TINY_FOLDER
    labels = base / "val" / TINY_LABELS
    if not labels.is_file():
        return None
    rows = (line.split("\t") for line in labels.read_text().splitlines())
    class_of = {fields[0]: fields[1] for fields in rows if len(fields) > 1}

    def paths() -> Iterator[tuple[str, str, Path]]:
        for path in sorted((base / "train").glob("*/images/*")):
            if is_image(path.name):
                yield "train", path.parent.parent.name, path
        for path in sorted((base / "val" / "images").glob("*")):
            if path.name in class_of:
                yield "test", class_of[path.name], path

    return listed_files(paths())


def split_archives(base: Path, words: Sequence[str]) -> list[Path]:
    """Return the zip files of the first split name that has any."""
    for word in words:
        archives = sorted({*base.glob(f"{word}.zip"), *base.glob(f"{word}-*.zip")})
        if archives:
            return archives
    return []


def split_images(base: Path, words: Sequence[str], classes: Container[str] | None) -> list[Path]:
    """Return the sorted image files below the first split name that has any."""
    for word in words:
        folders = [path for path in sorted((base / word).glob("*")) if path.is_dir()]
        used = [folder for folder in folders if classes is None or folder.name in classes]
        paths = [
            path for folder in used for path in sorted(folder.iterdir()) if is_image(path.name)
        ]
        if paths:
            return paths
    return []


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image, and not of a hidden file."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def zip_members(path: Path, split: str | None) -> list[ImageFile]:
    """Return the images in a zip file.

    Members are CLASS/FILE if `split` is given, else SPLIT/CLASS/FILE; others are ignored. Raises
    DataError if the zip file cannot be read, or a member is too large.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name} is not a readable zip file ({first_line(error)})") from error
    files = []
    names = [info.filename for info in archive.infolist()]
    top_folders = {name.split("/")[0] for name in names if is_image(name.split("/")[-1])}
    for info in archive.infolist():
        parts = info.filename.split("/")
        if info.is_dir() or not is_image(parts[-1]):
            continue
        if len(parts) != (2 if split else 3):
            continue
        if info.file_size > MAX_FILE_BYTES:
            raise DataError(
                f"{path.name}: {info.filename} has {info.file_size:,} bytes; "
                f"at most {MAX_FILE_BYTES:,} are read"
            )
        member_split = split or split_named(parts[0], top_folders)
        if member_split is not None:
            read = zip_reader(archive, info)
            files.append(ImageFile(member_split, parts[-2], parts[-1], read))
    return files


def zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    """Return a function that reads one member of a zip file."""
    return lambda: archive.read(info)


def split_named(folder: str, existing: Container[str]) -> str | None:
    """Return the split that a folder name means.

    `val` means the test split if there is no other test split.
    """
    for split, words in SPLIT_NAMES.items():
        if folder == next((name for name in words if name in existing), None):
            return split
    return None


def decode_dataset(
    files: Sequence[ImageFile], dataset: Dataset, known: DatasetFacts | None
) -> RawDataset:
    """Decode every image into one array, class-major.

    Raises DataError if a file is broken or does not fit, or if a class lacks images.
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
    target = target_format(ordered, dataset, known)
    images = np.empty((len(ordered), target.channels, target.height, target.width), np.uint8)

    def fill(index: int) -> None:
        images[index] = decode_image(ordered[index], target)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, range(len(ordered))):
            pass  # Asking for the results raises the errors of the threads.
    return RawDataset(
        train=Split(images[:count], labels[:count]),
        test=Split(images[count:], labels[count:]),
        class_names=names,
        white=255,
    )


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
    files: Sequence[ImageFile],
    class_of: Mapping[str, str],
    name: str,
    known: DatasetFacts | None,
) -> tuple[str, ...]:
    """Return the classes that have images, in the dataset's order.

    Raises DataError if there are fewer than two, or if a class lacks one of the splits.
    """
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
    for lacking in sorted(train ^ test):
        problem = "no test images" if lacking in train else "test images, but none to train on"
        hint = f"classes: {', '.join(names)}"[:300]
        raise DataError(
            f'class "{lacking}" of {name} needs both splits: it has {problem}', hint=hint
        )
    return names


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
        with ThreadPoolExecutor() as pool:
            heads = list(pool.map(lambda f: (is_grey(i := open_image(f)), i.size), files))
        channels = channels or (1 if all(grey for grey, _ in heads) else 3)
        size = size or Counter(size for _, size in heads).most_common(1)[0][0]
    return TargetFormat(channels, size[1], size[0], side is not None, dataset.fit, dataset.alpha)


def where_to_place(name: str) -> str:
    """Return the hint that says where to place a dataset's image files."""
    return (
        f"image files as {name}/train/CLASS/FILE and {name}/test/CLASS/FILE, or zip files "
        f"{name}/train-*.zip and {name}/test-*.zip with members CLASS/FILE, or one {name}.zip "
        f"with members train/CLASS/FILE; --data or $DDSPEC_DATA names the folder that holds it"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def file_state(path: Path) -> str:
    """Return name, size and time of a file as a text."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"
