"""Which columns of a table name the image file, its label and its split."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.tables.label_table import Row, Table

FILE_NAMES = frozenset(
    "filename file filepath filenames files path paths image images imagename imageid imageids "
    "imagepath imagefile imagefilename img imgname imgpath imgid imgfile id idcode idx name fname "
    "photo picture relativepath relpath".split()
)
LABEL_NAMES = frozenset(
    "label labels class classes classname classid classlabel category categoryname categoryid "
    "target targets labelname labelid y".split()
)
SPLIT_NAMES = frozenset("split splits set subset partition usage".split())
"""Names of columns, in small letters and without the characters between words."""

ROWS_TRIED = 200
"""Number of first rows by which the column of the file names is recognised."""


class UnfitTable(Exception):
    """A table cannot be read as one of labels; the reason is for the end of a sentence."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class Columns:
    """Positions of the columns of a table of labels."""

    file: int
    label: int
    split: int | None
    rows: Sequence[Row]
    """The rows, with the first one if the table has no names of columns."""
    note: str = ""
    """Columns that were passed over, in words."""


def plain(name: str) -> str:
    """Return a column's name in small letters, without the characters between words."""
    return re.sub(r"[\s_\-.]", "", name).lower()


def columns_of(table: Table, names_image: Callable[[str], bool]) -> Columns:
    """Return the columns of a table; `names_image` says whether a cell names an image file.

    Raises UnfitTable if it names no images, or not one column is that of the labels.
    """
    names = [plain(name) for name in table.header]
    if not {*names} & (FILE_NAMES | LABEL_NAMES) and names_image(table.header[0]):
        return columns_without_names(table)
    file = file_column(table, names, names_image)
    splits = [index for index, name in enumerate(names) if name in SPLIT_NAMES and index != file]
    split = splits[0] if splits else None
    label, same = label_column(table, names, {file, split})
    named = [escape_text(table.header[index]) for index in (file, label)]
    others = [
        escape_text(name)
        for index, name in enumerate(table.header)
        if index not in {file, label, split, *same} and name
    ]
    note = f"files by column {named[0]}, labels by column {named[1]}"
    if same:
        note += (
            f" (the same classes: {', '.join(escape_text(table.header[each]) for each in same)})"
        )
    if others:
        note += f"; columns passed over: {', '.join(others[:5])}"
        note += f" and {len(others) - 5} more" if len(others) > 5 else ""
    return Columns(file, label, split, table.rows, note)


def columns_without_names(table: Table) -> Columns:
    """Return the columns of a table whose first row is a file and its label."""
    if len(table.header) != 2:
        raise UnfitTable(
            f"its first line names no columns, and it has {len(table.header)}",
            hint='write "filename,label" and names of the other columns as its first line',
        )
    rows = [Row(1, table.header), *table.rows]
    return Columns(0, 1, None, rows, "its columns have no names: taken as files and labels")


def file_column(table: Table, names: Sequence[str], names_image: Callable[[str], bool]) -> int:
    """Return the column whose cells name images most often, one with a usual name if several."""
    first = table.rows[:ROWS_TRIED]
    if not first:
        raise UnfitTable("it has no rows")
    hits = {
        index: sum(names_image(row.cells[index]) for row in first) for index in range(len(names))
    }
    usual = [index for index in hits if names[index] in FILE_NAMES and hits[index]]
    # Numbers of classes can be names of files too, such as 1 of 1.png.
    by_name = [index for index in hits if hits[index] and names[index] not in LABEL_NAMES]
    candidates = usual or by_name
    if not candidates:
        known = [table.header[index] for index in hits if names[index] in FILE_NAMES]
        where = f"in its column {escape_text(known[0])}" if known else "in it"
        raise UnfitTable(f"no name {where} is that of an image file")
    return max(candidates, key=lambda index: (hits[index], -index))


def label_column(
    table: Table, names: Sequence[str], taken: set[int | None]
) -> tuple[int, list[int]]:
    """Return the column of the labels, and others that tell the same classes.

    Raises UnfitTable unless there is one.
    """
    left = [index for index in range(len(names)) if index not in taken and table.header[index]]
    usual = [index for index in left if names[index] in LABEL_NAMES]
    candidates = usual or left
    if not candidates:
        raise UnfitTable("it has no column of labels")
    same = [index for index in candidates[1:] if tell_the_same(table, candidates[0], index)]
    if len(candidates) > 1 + len(same):
        columns = [escape_text(table.header[index]) for index in candidates]
        more = f" and {len(columns) - 6} more" if len(columns) > 6 else ""
        raise UnfitTable(
            f"{len(columns)} of its columns may be the labels, {', '.join(columns[:6])}{more}",
            hint='name the right one "label" and remove other names of labels; one label for each '
            "image is read, as a name or number",
        )
    # Of numbers and names of the same classes, the names say more.
    texts = [index for index in candidates if not all(is_number(row, index) for row in table.rows)]
    label = (texts or candidates)[0]
    return label, [index for index in candidates if index != label]


def is_number(row: Row, index: int) -> bool:
    """Return whether a cell is a whole number."""
    return row.cells[index].lstrip("-").isdigit()


def tell_the_same(table: Table, first: int, second: int) -> bool:
    """Return whether each value in one column goes with one value in the other."""
    pairs = {(row.cells[first], row.cells[second]) for row in table.rows}
    firsts, seconds = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    # A column with another value in every row tells files apart, not classes.
    return len(pairs) == len(firsts) == len(seconds) < max(2, len(table.rows))
