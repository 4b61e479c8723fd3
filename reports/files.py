"""Reading and protecting the files of a run folder.

A document that cannot be read or contradicts itself raises RecordError with a hint. A
file that ddspec did not write is never replaced.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.regular_file import open_regular_file, read_regular_file
from ddspec.reports.embed import first_error

RUN_HINT, SWEEP_HINT = (
    f"`ddspec run` with the same {source} writes the folder again and reuses every artifact"
    for source in ("spec", "sweep")
)
"""Hints for a run folder and for a sweep's folder whose files are missing or damaged."""

DocumentType = TypeVar("DocumentType", bound=BaseModel)


def read_document(folder: Path, name: str, model: type[DocumentType], hint: str) -> DocumentType:
    """Return the JSON document in the file `name` of a folder.

    Raises RecordError with the hint if the file cannot be read or is not such a
    document.
    """
    short_path = f"{folder.name}/{name}"
    try:
        text = read_regular_file(folder / name)
    except FileNotFoundError:
        raise missing_document(folder, name, hint) from None
    except OSError as error:
        raise RecordError(f"{short_path} cannot be read: {error.strerror}", hint=hint) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problem = f"{short_path} is damaged or of another format: {first_error(error)}"
        raise RecordError(problem, hint=hint) from None


def missing_document(folder: Path, name: str, hint: str) -> RecordError:
    """Return the error for a document that is missing, perhaps with its whole folder."""
    if not folder.is_dir():
        there = folder.parent.is_dir()
        folders = [path.name for path in folder.parent.iterdir() if path.is_dir()] if there else []
        near = get_close_matches(folder.name, folders, n=1)
        similar = f"did you mean {folder.parent / near[0]}? " if near else ""
        return RecordError(
            f"there is no folder {folder}",
            hint=f"{similar}the last line that `ddspec run` prints is its run folder",
        )
    return RecordError(f"the folder {folder} has no {name}", hint=hint)


@contextmanager
def refuse_contradictions(document: str, hint: str) -> Iterator[None]:
    """Turn errors inside the block into a RecordError: the document contradicts itself.

    Reading a document checks each of its parts. If the parts do not fit together, the
    first code that uses them fails. `document` says in words which document the block
    uses.
    """
    try:
        yield
    except (
        LookupError,
        ValueError,
        ArithmeticError,
        TypeError,
        AttributeError,
        RuntimeError,
        StopIteration,
    ) as error:
        kind = type(error).__name__
        raise RecordError(f"{document} contradicts itself ({kind}: {error})", hint=hint) from error


def refuse_link(folder: Path) -> None:
    """Raise RecordError if a folder inside a run folder is a symbolic link."""
    if folder.is_symlink():
        problem = f"{folder.parent.name}/{folder.name} is a link, which may lead anywhere"
        raise RecordError(problem, hint="run folders contain no links; remove it")


def refuse_foreign_page(page: Path, generator: str, hint: str) -> None:
    """Raise RecordError if the page exists and was not written by this generator.

    Pages name their generator, such as "ddspec compare", in a <meta> element of their
    head.
    """
    if page.is_symlink() and not page.exists():
        raise RecordError(f"{page} is a link that leads nowhere", hint=hint)
    if not page.exists():
        return
    try:
        with open_regular_file(page) as descriptor:
            head = os.read(descriptor, 2000).decode(errors="replace")
    except OSError as error:
        raise RecordError(f"{page} cannot be read: {error.strerror}", hint=hint) from None
    if f'content="{generator}"' not in head:
        raise RecordError(f"{page} exists and was not written by {generator}", hint=hint)
