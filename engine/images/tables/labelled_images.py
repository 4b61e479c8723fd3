"""Image files whose labels are in tables beside them: each row names a file and its class.

Nothing is guessed in silence: rows without a file and files without a row are counted, and rows
that contradict each other are refused.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import is_there
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.draw_split import UNSPLIT
from ddspec.engine.images.layouts import (
    ImageFiles,
    assign_splits,
    class_order,
    list_dataset_folder,
    role_in,
    role_of,
    roles_in,
    with_account,
    words_of,
)
from ddspec.engine.images.listing import TABLE_SUFFIXES, FoundFile, Listing, list_zip, table_file
from ddspec.engine.images.open_image import ImageFile
from ddspec.engine.images.tables.columns import Columns, UnfitTable, columns_of
from ddspec.engine.images.tables.label_table import Row, Table, read_table

EXAMPLE_WORD = "submission"
"""Word in the names of tables that show the form of a contest's answer, with invented labels."""


COLUMNS_HINT = (
    "a table has a column filename and a column label; or place the images of each class in a "
    "folder, as NAME/train/CLASS/FILE"
)


@dataclass(frozen=True)
class Labelled:
    """The row of an image: its class, split and place."""

    class_name: str
    role: int | None
    place: str
    """File and line of the row, for messages."""


@dataclass
class Labels:
    """What the tables of a dataset say of its images."""

    of_file: dict[tuple[str, ...], Labelled] = field(default_factory=dict)
    """{path of an image: its row}"""
    notes: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    """Tables that are not used, with the reason."""
    hint: str = ""
    """What to do about the first of them."""
    used: list[Table] = field(default_factory=list)


class FilesByName:
    """The image files of a listing, found by what a cell of a table calls them."""

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self.by_name: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for file in files:
            name = file.parts[-1]
            self.by_name[name].append(file.parts)
            stem = name.rpartition(".")[0]
            if stem:
                self.by_name[stem].append(file.parts)

    def named(self, cell: str, folder: tuple[str, ...], role: int | None) -> list[tuple[str, ...]]:
        """Return the paths that a cell of a table in `folder` may mean, the best ones alone.

        A cell is the end of a path, with or without the file's suffix. Files beside the table
        come first, then those in a folder of the row's split.
        """
        wanted = tuple(part for part in cell.replace("\\", "/").split("/") if part not in ("", "."))
        if not wanted or ".." in wanted:
            return []
        above = wanted[:-1]
        paths = [
            path
            for path in self.by_name.get(wanted[-1], ())
            if path[len(path) - len(wanted) : -1] == above
            and len(path) >= len(wanted)
            and may_be_of(role, path[: len(path) - len(wanted)])
        ]
        for best in (
            [path for path in paths if path[:-1] == (*folder, *above)],
            [path for path in paths if path[: len(folder)] == folder],
            paths,
        ):
            in_split = [p for p in best if role is not None and role in map(role_of, p[:-1])]
            if best:
                return whole_names_first(in_split or best, wanted[-1])
        return []


def may_be_of(role: int | None, folders: tuple[str, ...]) -> bool:
    """Return whether files in folders may be of a split: not if their names mean another."""
    roles = {each for folder in folders for each in roles_in(folder)}
    return role is None or not roles or role in roles


def whole_names_first(paths: list[tuple[str, ...]], name: str) -> list[tuple[str, ...]]:
    """Return the paths whose file has exactly this name, or all if there are none."""
    return [path for path in paths if path[-1] == name] or paths


def images_with_tables(folder: Path, name: str) -> ImageFiles | None:
    """Return the images of a dataset that tables label; None if there are no tables or images.

    Raises DataError if no table fits, or if they contradict each other.
    """
    archive = folder / f"{name}.zip"
    listing = list_zip(archive) if archive.is_file() else list_dataset_folder(folder / name, None)
    beside = [table_file(path, (path.name,)) for path in tables_beside(folder, name)]
    if not listing.files or not (listing.tables or beside):
        return None
    labels = read_labels([*beside, *listing.tables], FilesByName(listing.files))
    if not labels.used:
        raise DataError(
            f"{listing.label} has {len(listing.files):,} images and tables, but none of their "
            f"labels: {'; '.join(labels.unfit)}",
            hint=labels.hint or COLUMNS_HINT,
        )
    return labelled_files(listing, labels, {file.parts for file in beside})


def tables_beside(folder: Path, name: str) -> list[Path]:
    """Return the tables that lie beside a dataset's folder or zip file and have its name."""
    paths = (folder / f"{name}{suffix}" for suffix in TABLE_SUFFIXES)
    return [path for path in paths if is_there(path)]


def read_labels(tables: Sequence[FoundFile], files: FilesByName) -> Labels:
    """Return what tables say of files; raise DataError if they contradict each other."""
    labels = Labels()
    for file in tables:
        if EXAMPLE_WORD in map(str.lower, words_of(file.parts[-1])):
            labels.unfit.append(f"{file.label}: its labels are an example")
            continue
        table = read_table(file)

        def names_image(cell: str, folder: tuple[str, ...] = table.parts[:-1]) -> bool:
            return bool(files.named(cell, folder, None))

        try:
            columns = columns_of(table, names_image)
        except UnfitTable as reason:
            labels.unfit.append(f"{table.label}: {reason}")
            labels.hint = labels.hint or reason.hint
            continue
        labels.used.append(table)
        labels.notes.append(f"labels of {table.label}: {columns.note}")
        add_rows(labels, table, columns, files)
    if labels.used:
        labels.notes += [f"passed over: {reason}" for reason in labels.unfit]
    return labels


def add_rows(labels: Labels, table: Table, columns: Columns, files: FilesByName) -> None:
    """Add what the rows of a table say to the labels; notes say of which rows nothing came."""
    counts, examples = Counter[str](), dict[str, str]()
    table_role = role_in(table.parts[-1])
    if table_role is None:
        table_role = role_of_folders(table.parts[:-1])
    for row in columns.rows:
        place = f"line {row.line} of {table.label}"
        role = table_role if columns.split is None else row_role(row, columns.split, place)
        cell, text = row.cells[columns.file], row.cells[columns.label]
        paths = files.named(cell, table.parts[:-1], role)
        if len(paths) > 1:
            options = " or ".join(escape_text("/".join(path)) for path in paths[:2])
            raise DataError(
                f"{place} names {escape_text(cell)}, which may be {options}",
                hint="write the path of the file in the table",
            )
        problem = "names a file that is missing" if not paths else "" if text else "has no label"
        if problem:
            counts[problem] += 1
            examples.setdefault(problem, escape_text(cell))
            continue
        if role is None:
            role = role_of_folders(paths[0][:-1])
        found = Labelled(class_of(text, place), role, place)
        known = labels.of_file.setdefault(paths[0], found)
        if known is not found:
            counts["repeats another"] += 1
            examples.setdefault("repeats another", escape_text(cell))
            check_same(known, found, cell)
    for problem, count in counts.items():
        plural = {"names a": "name a", "has": "have", "repeats": "repeat"}
        words = problem
        for one, many in plural.items():
            words = words.replace(one, many, 1) if count > 1 and words.startswith(one) else words
        rows = f"{count:,} row{'s' if count > 1 else ''}"
        labels.notes.append(f"{rows} of {table.label} {words}: {examples[problem]}")


def role_of_folders(folders: tuple[str, ...]) -> int | None:
    """Return the split that the names of folders mean; None if none does, or several do."""
    roles = {role for folder in folders if (role := role_of(folder)) is not None}
    return roles.pop() if len(roles) == 1 else None


def row_role(row: Row, column: int, place: str) -> int:
    """Return the split in a row; raise DataError if it is not the name of one."""
    role = role_of(row.cells[column])
    if role is None:
        raise DataError(
            f'{place} has the split "{escape_text(row.cells[column])}"',
            hint="the splits are called train, test and val",
        )
    return role


def class_of(text: str, place: str) -> str:
    """Return a label as the name of a class: a whole number that has become 3.0 is 3 again."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the label {escape_text(text)} in {place} is not UTF-8", hint="save the table as UTF-8"
        ) from error
    return re.sub(r"(?<=\d)\.0+$", "", text) if re.fullmatch(r"-?\d+\.0+", text) else text


def check_same(known: Labelled, found: Labelled, cell: str) -> None:
    """Raise DataError if two rows of one file tell another class or split."""
    for kind, first, second in (
        ("labels", known.class_name, found.class_name),
        ("splits", known.role, found.role),
    ):
        if first != second:
            values = f' "{escape_text(str(first))}" and "{escape_text(str(second))}"'
            raise DataError(
                f"{known.place} and {found.place} give {escape_text(cell)} two {kind}"
                f"{values if kind == 'labels' else ''}",
                hint="keep one row for each image; several labels for an image are not read",
            )


def labelled_files(listing: Listing, labels: Labels, beside: set[tuple[str, ...]]) -> ImageFiles:
    """Return the images that have a row, with the account of all files.

    Tables that were used are no files that were passed over; those in `beside` never were.
    """
    passed_over = Counter(listing.passed_over)
    for table in labels.used:
        if table.parts not in beside:
            passed_over[Path(table.parts[-1]).suffix.lower()] -= 1
    by_role: dict[int | None, list[ImageFile]] = defaultdict(list)
    for file in listing.files:
        row = labels.of_file.get(file.parts)
        if row is None:
            passed_over["without a label"] += 1
            continue
        path = "/".join(file.parts)
        image = ImageFile(UNSPLIT, row.class_name, path, file.label, file.size, file.read)
        by_role[row.role].append(image)
    images = assign_splits(by_role, passed_over, listing.label)
    found = with_account(images, passed_over, [listing])
    digests = [f"{table.label} {table.digest}" for table in labels.used]
    return ImageFiles(
        found.files,
        [*found.state, *digests],
        found.changed_ns,
        found.account,
        found.label,
        tuple(labels.notes),
        class_order(image.class_name for image in images),
    )
