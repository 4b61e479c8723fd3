"""Tiny ImageNet as its archive holds it, unpacked or not.

All its test images lie in one folder, and a text file names the class of each.
"""

from collections import Counter
from pathlib import Path

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import is_there, read_regular_file
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.layouts import (
    ImageFiles,
    image_file,
    list_dataset_folder,
    with_account,
)
from ddspec.engine.images.listing import Listing, list_zip, read_zip_member, states_of, unreadable

TINY_FOLDER = "tiny-imagenet-200"
LABELS = ("val", "val_annotations.txt")
MAX_LABEL_BYTES = 50_000_000


def tiny_imagenet_as_published(folder: Path) -> ImageFiles | None:
    """Return Tiny ImageNet from its folder or zip file; None if there is neither.

    Raises DataError if the file with the labels of the test images is missing or unfit.
    """
    base, archive = folder / TINY_FOLDER, folder / f"{TINY_FOLDER}.zip"
    label_file = base.joinpath(*LABELS)
    if is_there(label_file):
        try:
            content = read_regular_file(label_file, MAX_LABEL_BYTES)
        except OSError as error:
            raise unreadable(label_file.name, error) from error
        labels_state = Listing((), Counter(), *states_of([label_file]))
        return labelled_files([list_dataset_folder(base, None), labels_state], content, ())
    if not base.is_dir() and archive.is_file():
        content = read_zip_member(archive, (TINY_FOLDER, *LABELS), MAX_LABEL_BYTES)
        return labelled_files([list_zip(archive)], content, (TINY_FOLDER,))
    return None


def labelled_files(
    listings: list[Listing], label_content: bytes, prefix: tuple[str, ...]
) -> ImageFiles:
    """Return the files of the first listing below `prefix`, test images with their labels."""
    class_of = labels_of_test_images(label_content)
    images, passed_over = [], Counter(listings[0].passed_over)
    for file in listings[0].files:
        parts = file.parts[len(prefix) :] if file.parts[: len(prefix)] == prefix else ()
        match parts:
            case ("train", class_name, "images", name):
                images.append(image_file(file, "train", (class_name, name)))
            case ("val", "images", name) if name in class_of:
                images.append(image_file(file, "test", (class_of[name], name)))
            case _:
                passed_over["without a label"] += 1
    return with_account(images, passed_over, listings)


def labels_of_test_images(content: bytes) -> dict[str, str]:
    """Return {file name: class} of the test images; raise DataError if a line is not of this form.

    Bytes that are not UTF-8 are kept as they are in names of files.
    """
    class_of: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        fields = line.decode("utf-8", "surrogateescape").split("\t")
        if len(fields) < 2 or class_of.get(fields[0], fields[1]) != fields[1]:
            problem = "has no class" if len(fields) < 2 else f"gives {fields[0]} another class"
            raise DataError(
                f"line {number} of {LABELS[-1]} {escape_text(problem)}",
                hint="unpack the archive again: a line is a file name, a tab and a class",
            )
        class_of[fields[0]] = fields[1]
    return class_of
