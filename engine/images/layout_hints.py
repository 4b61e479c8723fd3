"""What to say of a dataset whose files are in no layout that is read: what is there, what to do."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ddspec.dsl.diagnostics import DataMissing
from ddspec.dsl.regular_file import check_regular_file, is_there
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.layouts import TRAIN, list_dataset_folder, role_of, roles_in
from ddspec.engine.images.listing import TABLE_SUFFIXES, Listing, list_zip, unreadable

ARRAYS_AND_TABLES = frozenset(
    ".7z .arrow .bin .bz2 .csv .gz .h5 .hdf5 .json .jsonl .lmdb .mat .npy .npz .parquet .pickle "
    ".pkl .pt .pth .rar .tar .tfrecord .tgz .tsv .xz .zip .zst".split()
)
"""Suffixes of files that may hold a dataset, in forms that are not read."""

READ_IN_FOLDERS = (".npz", ".parquet", ".tar")
"""Suffixes of files with many images that are read in the folder of one's own dataset."""


def where_to_place(name: str) -> str:
    """Return the hint that says where to place a dataset's image files."""
    return (
        f"image files as {name}/train/CLASS/FILE and {name}/test/CLASS/FILE, or zip files "
        f"{name}/train-*.zip and {name}/test-*.zip with members CLASS/FILE, or one {name}.zip "
        f"with members train/CLASS/FILE; --data or $DDSPEC_DATA names the folder that holds it"
    )


def unfit_place(folder: Path, folders: Iterable[str], files: Iterable[str]) -> DataMissing | None:
    """Return the error for a dataset that is there, but as a pipe, device or the like.

    `folders` and `files` are the names that its folder and its archives may have. None if each
    is missing or what it should be.
    """
    for name in folders:
        if is_there(folder / name) and not (folder / name).is_dir():
            return DataMissing(
                f"{escape_text(name)} in {folder} is not a folder",
                hint="place the folder of the dataset there, or repair the link",
            )
    for name in files:
        try:
            if is_there(folder / name):
                check_regular_file(folder / name)
        except OSError as error:
            problem = unreadable(escape_text(name), error)
            return DataMissing(f"{problem} ({folder})", problem.hint)
    return None


def unread_layout(folder: Path, name: str, is_own: bool) -> DataMissing | None:
    """Return the error for a dataset that is there in an unknown layout; None if it is not.

    `is_own` says whether it is the user's own, which may have other forms than image files.
    """
    base, archive = folder / name, folder / f"{name}.zip"
    if archive.is_file():
        listing, place = list_zip(archive), archive.name
    elif base.is_dir():
        listing, place = list_dataset_folder(base, None), f"{name}/"
    else:
        return None
    tops = Counter(file.parts[0] for file in listing.files if len(file.parts) > 1)
    return DataMissing(
        f"{escape_text(place)} is in {folder}, but not in a layout that is read; "
        f"it holds {contents(listing, tops)}",
        hint=other_way(listing, name, archive.is_file(), is_own)
        or how_to_arrange(listing, tops, name),
    )


def other_way(listing: Listing, name: str, is_archive: bool, is_own: bool) -> str:
    """Return how to have arrays, tables or shards read that are read elsewhere; "" if none are."""
    known = sorted({*READ_IN_FOLDERS} & {*listing.passed_over})
    if not known or listing.files or (is_own and not is_archive):
        return ""
    unpack = f"unpack {escape_text(name)}.zip to {escape_text(name)}/ and remove it" * is_archive
    other_name = f'set dataset.name = "folder" and dataset.root = "{escape_text(name)}"'
    steps = " and ".join(filter(None, (unpack, "" if is_own else other_name)))
    return f"{', '.join(known)} files can be read: {steps}"


def contents(listing: Listing, tops: Counter[str]) -> str:
    """Return in words what a folder or zip file holds; `tops` counts images by folder."""
    parts = [f"{images(count)} in {escape_text(top)}/" for top, count in sorted(tops.items())[:5]]
    if len(tops) > 5:
        parts.append(f"images in {len(tops) - 5:,} more folders")
    loose = sum(len(file.parts) == 1 for file in listing.files)
    if loose:
        parts.append(f"{images(loose)} outside of folders")
    others = sorted(listing.passed_over.items(), key=lambda item: (-item[1], item[0]))
    parts += [f"{count:,} {reason}" for reason, count in others[:5]]
    return ", ".join(parts) or "no files"


def images(count: int) -> str:
    """Return a number of images in words."""
    return f"{count:,} image{'s' if count > 1 else ''}"


def how_to_arrange(listing: Listing, tops: Counter[str], name: str) -> str:
    """Return how to arrange the files so that they are read."""
    in_training = [file for file in listing.files if role_of(file.parts[0]) == TRAIN]
    tables = sorted(ARRAYS_AND_TABLES & {*listing.passed_over})
    if in_training:
        split = escape_text(in_training[0].parts[0])
        labels = f"; labels in {', '.join(tables)} files are not read" if tables else ""
        return f"place the images of each class in a folder: {split}/CLASS/FILE{labels}"
    if tables and not listing.files and {*tables} <= {*TABLE_SUFFIXES}:
        return f"place the images that {', '.join(tables)} files name in {escape_text(name)}/"
    if tables and not tops:
        return (
            f"{', '.join(tables)} files are not read; write their images as {where_to_place(name)}"
        )
    if any(role_of(top) is not None for top in tops):
        return 'name the folder of the training images "train"'
    if tops and all(map(roles_in, tops)):
        return 'name the folders "train" and "test", and in each place a folder for each class'
    if tops and all(len(file.parts) == 2 for file in listing.files if len(file.parts) > 1):
        one = escape_text(min(tops))
        return (
            f"the folder has no split: set dataset.split = 0.2, which takes a fifth of each class "
            f"as test images; or move the training images to {name}/train/{one}/FILE and the test "
            f"images to {name}/test/{one}/FILE, likewise for each class"
        )
    words = "train or training, and test, testing, val, valid or validation"
    return f"the splits are folders named {words}; place {where_to_place(name)}"
