"""A copy of a run folder that is small enough to share and that `ddspec verify` accepts."""

import shutil
from pathlib import Path

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import FIGURES, RECORD_JSON, REPORT_HTML, WHITENING_H5
from ddspec.dsl.record.record import Record
from ddspec.engine.exchange.export import check_target, copy_file

LEFT_OUT = (WHITENING_H5,)
"""Files that the real images give again, and that are large."""


def copy_run(folder: Path, record: Record, to: Path) -> list[Path]:
    """Copy what a run wrote, without its progress and what the real images give again.

    Raises RecordError if `to` is not empty, or if a file of the run is missing. Files that were
    written until then are removed.
    """
    check_target(to)
    figures = sorted(path.name for path in (folder / FIGURES).glob("*"))
    names = [
        *(name for name in record.files if name not in LEFT_OUT),
        *(RECORD_JSON, REPORT_HTML),
        *(f"{FIGURES}/{name}" for name in figures),
    ]
    try:
        return [copied(folder / name, to / name) for name in names]
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def copied(source: Path, to: Path) -> Path:
    """Copy a file of a run. Raises RecordError if it is missing."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        return copy_file(source, to)
    except FileNotFoundError:
        raise RecordError(
            f"{source} is missing", hint="ddspec run with the same spec writes it again"
        ) from None
