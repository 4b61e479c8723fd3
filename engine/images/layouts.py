"""Folders and zip files as people lay them out, sorted into splits and classes."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts.datasets import FilesAccount
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.draw_split import UNSPLIT
from ddspec.engine.images.listing import FoundFile, Listing, list_folder, list_zip
from ddspec.engine.images.open_image import ImageFile

TRAIN_WORDS, TEST_WORDS = ("train", "training"), ("test", "testing")
VALIDATION_WORDS = ("val", "valid", "validation")
"""Names of the splits, in lower case; capital letters do not matter. Validation images are read
as test images if the dataset has no others."""

ROLES = {
    word: role
    for role, words in enumerate((TRAIN_WORDS, TEST_WORDS, VALIDATION_WORDS))
    for word in words
}
TRAIN, TEST, VALIDATION = range(3)

OUTSIDE_CLASSES = "outside of class folders"


@dataclass(frozen=True)
class ImageFiles:
    """All images of a dataset that is kept as image files, in no particular order."""

    files: Sequence[ImageFile]
    state: Sequence[str]
    """Texts that change when the files or archives do."""
    changed_ns: int
    """When the last of them changed, in nanoseconds since 1970."""
    account: FilesAccount
    label: str
    """The folder or zip file, below the data folder."""
    notes: tuple[str, ...] = ()
    """How the files were understood, where that does not go without saying."""
    classes: tuple[str, ...] = ()
    """The classes in their order; empty if it is that of their names as texts."""


def image_files(
    folder: Path, name: str, classes: Container[str] | None = None, without_split: bool = False
) -> ImageFiles | None:
    """Return the image files of a dataset; None if they are in no layout that is known.

    They lie in a folder, in one zip file, or in zip files by split. Of a folder, only the classes
    in `classes` are looked into, unless it is None. With `without_split`, folders of classes
    alone are a known layout too. Raises DataError if the images are there
    twice, or two splits mean the same.
    """
    base, archive = folder / name, folder / f"{name}.zip"
    listing = list_dataset_folder(base, classes)
    archives = split_archives(base)
    sources = {
        archive.name: archive.is_file(),
        f"{archives[0].name if archives else ''} in {name}/": bool(archives),
        f"image files in {name}/": any(len(file.parts) > 1 for file in listing.files),
    }
    present = [escape_text(source) for source, is_present in sources.items() if is_present]
    if len(present) > 1:
        raise DataError(
            f"{escape_text(name)} is there more than once: {' and '.join(present)}",
            hint="remove or rename all but the one that you mean",
        )
    if archives:
        return from_archives(archives, listing)
    if archive.is_file():
        listing = list_zip(archive)
    return from_splits(listing) or (from_classes(listing) if without_split else None)


def list_dataset_folder(base: Path, classes: Container[str] | None) -> Listing:
    """Return the files in a dataset's folder; no files if there is no such folder."""

    def is_left_out(parts: tuple[str, ...]) -> bool:
        return classes is not None and len(parts) == 2 and parts[1] not in classes

    return list_folder(base, is_left_out) if base.is_dir() else Listing()


def role_of(name: str) -> int | None:
    """Return the split that a name means, as a number; None if it is not the name of a split."""
    return ROLES.get(name.lower())


def chosen_splits(names: Iterable[str]) -> dict[str, str]:
    """Return {name: "train" or "test"} for the names that are read; empty without "train".

    Raises DataError if two names mean the same split.
    """
    by_role: dict[int, list[str]] = {TRAIN: [], TEST: [], VALIDATION: []}
    for name in sorted(set(names)):
        role = role_of(name)
        if role is not None:
            by_role[role].append(name)
    chosen = {"train": by_role[TRAIN], "test": by_role[TEST] or by_role[VALIDATION]}
    for split, same in chosen.items():
        if len(same) > 1:
            raise DataError(
                f"{' and '.join(map(escape_text, same))} both mean the {split} split",
                hint="rename or remove all but one of them",
            )
    return {same[0]: split for split, same in chosen.items() if same} if by_role[TRAIN] else {}


ROLE_NAMES = {TRAIN: "train", TEST: "test", VALIDATION: "validation", None: "no"}


def words_of(name: str) -> list[str]:
    """Return the words in a file's name: trainLabels, train_labels and train-labels have two."""
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)


def roles_in(name: str) -> dict[int, str]:
    """Return {split: word} for the words in a file's name that mean a split."""
    return {role: word for word in words_of(name) if (role := role_of(word)) is not None}


def role_in(name: str) -> int | None:
    """Return the split that a word in a file's name means, as a number; None if none does.

    Raises DataError if two words mean different splits.
    """
    roles = roles_in(name)
    if len(roles) > 1:
        raise DataError(
            f"{escape_text(name)} has the names of several splits: {' and '.join(roles.values())}",
            hint="rename it so that it names one split",
        )
    return next(iter(roles), None)


def assign_splits(
    by_role: Mapping[int | None, Sequence[ImageFile]], passed_over: Counter[str], label: str
) -> list[ImageFile]:
    """Return labelled images as training and test images, given those of each split.

    Validation images are tested on if there are no labelled test images. With training images
    alone, or images of no split alone, all of them are without a split. Others are counted in
    `passed_over`. Raises DataError if there are no images to train on.
    """
    present = {role for role, images in by_role.items() if images}
    if not present & {TRAIN, None}:
        names = " and ".join(ROLE_NAMES[role] for role in sorted(present - {None}, key=str))
        found = f"has images of the {names} split only" if names else "has no labelled images"
        raise DataError(f"{label} {found}", hint="add the training images and their labels")
    training = TRAIN if TRAIN in present else None
    testing = next((role for role in (TEST, VALIDATION) if role in present), None)
    if training is None or testing is None:
        chosen = {training: UNSPLIT}
    else:
        chosen = {training: "train", testing: "test"}
    images = []
    for role, members in by_role.items():
        if role in chosen:
            images += [replace(image, split=chosen[role]) for image in members]
        elif members:
            passed_over[f"of {ROLE_NAMES[role]} split"] += len(members)
    return images


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes in their order, numbers by their size."""
    return tuple(
        sorted({*names}, key=lambda name: (len(name), name) if name.isdigit() else (0, name))
    )


def from_splits(listing: Listing) -> ImageFiles | None:
    """Return files SPLIT/CLASS/.../FILE, also if one folder is wrapped around the splits."""
    prefix = wrapping_folders(listing.files)
    depth = len(prefix)
    chosen = chosen_splits(
        file.parts[depth]
        for file in listing.files
        if file.parts[:depth] == prefix and len(file.parts) >= depth + 3
    )
    if not chosen:
        return None
    images, passed_over = [], Counter(listing.passed_over)
    for file in listing.files:
        split = chosen.get(file.parts[depth]) if file.parts[:depth] == prefix else None
        if split is None and len(file.parts) > 1:
            passed_over[f"in {escape_text(file.parts[min(depth, len(file.parts) - 2)])}/"] += 1
        elif split is None or len(file.parts) < depth + 3:
            passed_over[OUTSIDE_CLASSES] += 1
        else:
            images.append(image_file(file, split, file.parts[depth + 1 :]))
    return with_account(images, passed_over, [listing])


def from_classes(listing: Listing) -> ImageFiles | None:
    """Return files CLASS/.../FILE without a split, also if one folder is wrapped around them.

    None if there are no such files, if a folder is named like a split, or if the names of all
    folders have the word of one, such as train_images and test_images.
    """
    prefix = wrapping_folders(listing.files)
    depth = len(prefix)
    images, passed_over = [], Counter(listing.passed_over)
    for file in listing.files:
        if file.parts[:depth] != prefix or len(file.parts) < depth + 2:
            passed_over[OUTSIDE_CLASSES] += 1
        elif role_of(file.parts[depth]) is not None:
            return None
        else:
            images.append(image_file(file, UNSPLIT, file.parts[depth:]))
    if all(roles_in(name) for name in {image.class_name for image in images}):
        return None
    return with_account(images, passed_over, [listing])


def wrapping_folders(files: Sequence[FoundFile]) -> tuple[str, ...]:
    """Return the path of the folder that holds the splits: nested folders that are alone."""
    prefix: tuple[str, ...] = ()
    while True:
        depth = len(prefix)
        names = {
            file.parts[depth]
            for file in files
            if file.parts[:depth] == prefix and len(file.parts) > depth + 1
        }
        if len(names) != 1 or any(role_of(name) is not None for name in names):
            return prefix
        prefix = (*prefix, *names)


def split_archives(base: Path) -> list[Path]:
    """Return the zip files by split in a folder; none if none is for training."""
    archives = [path for path in sorted(base.glob("*.zip")) if not path.name.startswith(".")]
    if not any(role_of(stem_of(path)) == TRAIN for path in archives):
        return []
    return [path for path in archives if role_of(stem_of(path)) is not None]


def stem_of(archive: Path) -> str:
    """Return the name of a zip file up to its first dash: "train" for train-03.zip."""
    return archive.stem.split("-")[0]


def from_archives(archives: Sequence[Path], listing: Listing) -> ImageFiles:
    """Return the members CLASS/.../FILE of zip files by split.

    `listing` is that of the folder that they are in. Raises DataError if two members have the
    same name.
    """
    chosen = chosen_splits(map(stem_of, archives))
    images: dict[tuple[str, str, str], ImageFile] = {}
    passed_over, listings = Counter(listing.passed_over), [listing]
    for archive in archives:
        split = chosen.get(stem_of(archive))
        if split is None:
            continue
        members = list_zip(archive)
        listings.append(members)
        passed_over.update(members.passed_over)
        passed_over[".zip"] -= 1
        tops = {file.parts[0] for file in members.files}
        # A zip file of a folder "train" has the name of the split in all its paths.
        depth = int(tops <= {stem_of(archive), archive.stem})
        for file in members.files:
            if len(file.parts) < depth + 2:
                passed_over[OUTSIDE_CLASSES] += 1
                continue
            image = image_file(file, split, file.parts[depth:])
            same = images.setdefault((split, image.class_name, image.file_name), image)
            if same is not image:
                raise DataError(
                    f"{same.label} and {image.label} have the same name",
                    hint="remove one of the zip files, or rename the image",
                )
    passed_over[OUTSIDE_CLASSES] += len(listing.files)
    return with_account(list(images.values()), passed_over, listings)


def image_file(file: FoundFile, split: str, parts: Sequence[str]) -> ImageFile:
    """Return a file as an image of a split; `parts` begin with the folder of its class.

    Raises DataError if the name of the class is not UTF-8.
    """
    try:
        class_name = parts[0].encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the name of the class folder {escape_text(parts[0])} of {file.label} is not UTF-8",
            hint="rename the folder",
        ) from error
    return ImageFile(split, class_name, "/".join(parts[1:]), file.label, file.size, file.read)


def with_account(
    images: Sequence[ImageFile], passed_over: Counter[str], listings: Sequence[Listing]
) -> ImageFiles:
    """Return images with the account of all files that were looked at."""
    counts = {reason: count for reason, count in sorted(passed_over.items()) if count}
    account = FilesAccount(
        files=len(images) + sum(counts.values()), images=len(images), passed_over=counts
    )
    state = [text for listing in listings for text in listing.state]
    changed_ns = max(listing.changed_ns for listing in listings)
    return ImageFiles(images, state, changed_ns, account, listings[0].label)
