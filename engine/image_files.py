"""Datasets kept as image files: in folders or zip files, decoded and checked one by one."""

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.diagnostics import DataError
from ddspec.engine.raw import Pixels, RawDataset, Split

SPLIT_NAMES = {"train": ("train",), "test": ("test", "val")}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 4096 * 4096


@dataclass(frozen=True)
class ImageFile:
    """One image that can be read: where it belongs and how to get its bytes."""

    split: str
    class_name: str
    file_name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class ImageFiles:
    """All images of a dataset that is kept as image files, in no particular order."""

    files: Sequence[ImageFile]
    state: Sequence[str]


def image_files(folder: Path, name: str) -> ImageFiles | None:
    """Images of a dataset as zip files by split, one zip file, or folders; None: none of them."""
    base = folder / name
    by_split = {split: first_archives(base, words) for split, words in SPLIT_NAMES.items()}
    if by_split["train"]:
        archives = [(path, split) for split, paths in by_split.items() for path in paths]
        files = [file for path, split in archives for file in zip_members(path, split)]
        return ImageFiles(files, [file_state(path) for path, _ in archives])
    archive = folder / f"{name}.zip"
    if archive.is_file():
        return ImageFiles(zip_members(archive, None), [file_state(archive)])
    if (base / "train").is_dir():
        paths = [
            (path, split)
            for split, words in SPLIT_NAMES.items()
            for path in first_folder(base, words)
        ]
        files = [
            ImageFile(split, path.parent.name, path.name, path.read_bytes) for path, split in paths
        ]
        state = [f"{split}/{path.parent.name}/{file_state(path)}" for path, split in paths]
        return ImageFiles(files, state)
    return None


def first_archives(base: Path, words: Sequence[str]) -> list[Path]:
    """Zip files of the first of the named splits that has any."""
    for word in words:
        found = sorted({*base.glob(f"{word}.zip"), *base.glob(f"{word}-*.zip")})
        if found:
            return found
    return []


def first_folder(base: Path, words: Sequence[str]) -> list[Path]:
    """Image files below the first of the named folders that is there, in sorted order."""
    for word in words:
        found = sorted(path for path in (base / word).glob("*/*") if is_image(path.name))
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
        raise DataError(f"{path.name} is no readable zip file ({brief(error)})") from error
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
        member_split = split or split_of(parts[0], words)
        if member_split is not None:
            read = zip_reader(archive, info)
            found.append(ImageFile(member_split, parts[-2], parts[-1], read))
    return found


def zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    """Reads one member when it is called."""
    return lambda: archive.read(info)


def split_of(word: str, there: Container[str]) -> str | None:
    """The split that a folder name means; `val` counts as test where there is no test."""
    for split, words in SPLIT_NAMES.items():
        if word == next((name for name in words if name in there), None):
            return split
    return None


def decode(files: Sequence[ImageFile], name: str, known: DatasetFacts | None) -> RawDataset:
    """Read every image. Raises DataError that names what is broken or does not fit."""
    present = {file.class_name for file in files if file.split == "train"}
    names = known.class_names if known else tuple(sorted(present))
    strangers = {file.class_name for file in files} - set(names)
    if strangers or (known and present != set(names)):
        odd = sorted(strangers or set(names) - present)
        what = "is no class of" if strangers else "has no training images in"
        raise DataError(
            f'class "{odd[0]}" {what} {name}', hint=f"classes: {', '.join(names)}"[:300]
        )
    if len(names) < 2:
        raise DataError(
            f'"{name}" has training images of {len(names)} classes; at least two are needed',
            hint=placing(name),
        )
    number = {class_name: index for index, class_name in enumerate(names)}
    ordered = sorted(files, key=lambda f: (f.split != "train", number[f.class_name], f.file_name))
    with ThreadPoolExecutor() as pool:
        opened = list(pool.map(open_image, ordered))
    channels = known.channels if known else (1 if all(i.mode == "L" for i in opened) else 3)
    usual = Counter(image.size for image in opened).most_common(1)[0][0]
    for file, image in zip(ordered, opened, strict=True):
        wanted = (known.width, known.height) if known else usual
        if image.size != wanted:
            raise DataError(
                f"{where(file)} is {image.size[0]}x{image.size[1]} pixels, "
                f"others are {wanted[0]}x{wanted[1]}",
                hint="resize the images to one size first",
            )
    arrays = np.stack([as_pixels(image, channels) for image in opened])
    labels = np.array([number[file.class_name] for file in ordered], dtype=np.int64)
    count = sum(file.split == "train" for file in ordered)
    if count == len(ordered):
        raise DataError(f"{name} has no test images", hint=placing(name))
    return RawDataset(
        train=Split(arrays[:count], labels[:count]),
        test=Split(arrays[count:], labels[count:]),
        class_names=names,
        white=255,
    )


def where(file: ImageFile) -> str:
    """An image as messages name it."""
    return f"{file.split}/{file.class_name}/{file.file_name}"


def open_image(file: ImageFile) -> Image.Image:
    """A decoded image, grey or colour. Raises DataError that names a broken one."""
    try:
        image = Image.open(io.BytesIO(file.read()))
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{where(file)} claims {image.width}x{image.height} pixels")
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{where(file)} is broken or no image", hint="repair or remove it"
        ) from error
    if "A" in image.getbands() or "transparency" in image.info:
        raise DataError(
            f"{where(file)} is transparent", hint="put the images on an opaque background first"
        )
    return image.convert("L" if image.mode in ("L", "1") else "RGB")


def as_pixels(image: Image.Image, channels: int) -> Pixels:
    """An image as (channels, height, width) bytes."""
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def placing(name: str) -> str:
    """What to place where, for datasets kept as image files."""
    return (
        f"image files as {name}/train/CLASS/FILE and {name}/test/CLASS/FILE, or zip files "
        f"{name}/train-*.zip and {name}/test-*.zip with members CLASS/FILE, or one {name}.zip "
        f"with members train/CLASS/FILE; --data or $DDSPEC_DATA says which folder that is in"
    )


def brief(error: BaseException) -> str:
    """The first line of a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def file_state(path: Path) -> str:
    """Name, size and time of a file."""
    state = path.stat()
    return f"{path.name} {state.st_size} {state.st_mtime_ns}"
