"""Files of a run folder: documents are read with clear errors, foreign files never replaced."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.reports.embed import first_error

DocumentType = TypeVar("DocumentType", bound=BaseModel)


def read_document(folder: Path, name: str, model: type[DocumentType], again: str) -> DocumentType:
    """Return a JSON document of a folder; raise RecordError with `again` as its hint."""
    named = f"{folder.name}/{name}"
    try:
        text = (folder / name).read_bytes()
    except OSError as error:
        raise RecordError(f"{named} cannot be read: {error.strerror}", hint=again) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problem = f"{named} is damaged or of another format: {first_error(error)}"
        raise RecordError(problem, hint=again) from None


@contextmanager
def refuse_contradictions(what: str, hint: str) -> Iterator[None]:
    """Report errors while a document is used as contradictions inside the document.

    Each part is checked when a document is read, but whether the parts fit each other shows only
    when they are used. Raises RecordError.
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
    ) as error:
        kind = type(error).__name__
        raise RecordError(f"{what} contradicts itself ({kind}: {error})", hint=hint) from error


def refuse_link(folder: Path) -> None:
    """Raise RecordError if a folder of a run is a link, which may lead anywhere."""
    if folder.is_symlink():
        problem = f"{folder.parent.name}/{folder.name} is a link, which may lead anywhere"
        raise RecordError(problem, hint="run folders contain no links; remove it")


def refuse_foreign_page(page: Path, generator: str, hint: str) -> None:
    """Raise RecordError if the file exists and was not written by this generator."""
    if not page.exists():
        return
    with page.open("rb") as file:
        head = file.read(2000).decode(errors="replace")
    if f'content="{generator}"' not in head:
        raise RecordError(f"{page} exists and was not written by {generator}", hint=hint)
