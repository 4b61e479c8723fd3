"""A column of encoded images in parquet files, read a few rows at a time, in their order."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.regular_file import check_regular_file
from ddspec.dsl.terminal_text import message_of
from ddspec.engine.images.open_image import STORED_AT_ONCE

ROWS_AT_ONCE = 32
ROWS_KEPT = 2 * STORED_AT_ONCE
"""The last rows are kept, because threads ask for rows in nearly, but not quite, their order."""


def import_pyarrow(label: str) -> Any:
    """Return pyarrow with its reader of parquet; raise DataError if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise DataError(
            f"{label} is a parquet file, which is read by pyarrow, and that is not installed",
            hint="pip install 'ddspec[parquet]'",
        ) from error
    return pyarrow


def damaged_shard(label: str, error: Exception) -> DataError:
    """Return the error for a parquet file that cannot be read."""
    return DataError(
        f"{label} is not a readable parquet file ({message_of(error)})",
        hint="make or download it again",
    )


class ImageColumn:
    """The images of some files; rows are read fastest in the order of files and rows."""

    def __init__(self, files: Sequence[tuple[Path, str]], column: str) -> None:
        """Take paths and labels of the files, and the name of the column."""
        self.files = files
        self.column = column
        self.lock = threading.Lock()
        self.kept: deque[tuple[int, int, Any]] = deque()
        self.batches: Iterator[tuple[int, int, Any]] = iter(())
        self.next_row = (-1, 0)
        """File and row that the next of these batches begins with; no file at first."""

    def read(self, number: int, row: int) -> bytes:
        """Return the bytes of the image in a row of a file.

        Raises DataError if there are none, or the file is damaged.
        """
        label = self.files[number][1]
        try:
            with self.lock:
                value = self.value(number, row)
        except DdspecError:
            raise
        except Exception as error:
            raise damaged_shard(label, error) from error
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DataError(
                f"{label}: row {row + 1} has no bytes of an image",
                hint="export the dataset with its images in it, not with paths to them",
            )
        return content

    def value(self, number: int, row: int) -> Any:
        """Return the value in a row of a file, which may be among the last ones that were read."""
        for kept_number, first, array in self.kept:
            if kept_number == number and first <= row < first + len(array):
                return array[row - first].as_py()
        if number != self.next_row[0] or row < self.next_row[1]:
            self.batches = self.batches_from(number, row)
        for batch in self.batches:
            _, first, array = batch
            self.keep(batch)
            self.next_row = number, first + len(array)
            if first <= row < first + len(array):
                return array[row - first].as_py()
        raise ValueError(f"row {row + 1} is missing")

    def keep(self, batch: tuple[int, int, Any]) -> None:
        """Keep a batch, and of those before only the last rows."""
        self.kept.append(batch)
        rows = sum(len(array) for _, _, array in self.kept)
        while rows - len(self.kept[0][2]) >= ROWS_KEPT:
            rows -= len(self.kept.popleft()[2])

    def batches_from(self, number: int, row: int) -> Iterator[tuple[int, int, Any]]:
        """Yield file, first row and values of batches, from the group of rows that has `row`."""
        path, label = self.files[number]
        check_regular_file(path)
        with import_pyarrow(label).parquet.ParquetFile(path, pre_buffer=False) as file:
            first, groups = 0, file.metadata.num_row_groups
            group = 0
            while group < groups and first + file.metadata.row_group(group).num_rows <= row:
                first += file.metadata.row_group(group).num_rows
                group += 1
            for each in range(group, groups):
                size = file.metadata.row_group(each).total_byte_size
                claim(size, f"reading {label}", "write it with fewer rows in a group")
                for batch in file.iter_batches(
                    ROWS_AT_ONCE, row_groups=[each], columns=[self.column], use_threads=False
                ):
                    yield number, first, batch.column(0)
                    first += len(batch)
