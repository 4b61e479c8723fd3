"""Findings about a spec and the exceptions of the project, with how they look in a terminal.

    DdspecError
    |-- SpecError      the spec is at fault; carries every Diagnostic        exit 3
    |-- DataError      a dataset is unfit; says which file                   exit 5
    |   `-- DataMissing  it is not there; says what to place where           exit 5
    |-- StoreError     an artifact is damaged or of another format           exit 5
    |-- MachineError   the machine lacks memory, or the device asked for     exit 5
    `-- RecordError    a record, plan or run folder is damaged or foreign    exit 5

Imports nothing of the project, so that everything may import it.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Span:
    """A place in a text: line and column count from 1, `width` in characters, on one line."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a stable code, the key at fault, what is wrong, and the way out."""

    code: str
    key: str
    """Dotted path of the key, with [n] for the n-th of repeated tables."""
    problem: str
    hint: str = ""
    severity: Severity = "error"
    path: tuple[str | int, ...] = ()
    """The same as names and indices, as the document has them."""
    involves: tuple[str, ...] = ()
    """Other keys that the finding rests on; it is not said where one of them is at fault."""
    file: str = ""
    """Name of the file, or the command-line option that set the key."""
    span: Span | None = None
    line_text: str = ""
    """The source line, for underlining."""

    @property
    def message(self) -> str:
        """Key and problem in one sentence."""
        return f"{self.key}: {self.problem}" if self.key else self.problem


class DiagnosticJson(TypedDict):
    """What `ddspec check --json` prints for each finding."""

    file: str
    line: int | None
    column: int | None
    severity: str
    code: str
    key: str
    message: str
    hint: str


class DdspecError(Exception):
    """A fault that has a clear message and no need of a traceback."""

    hint: str = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SpecError(DdspecError):
    """The spec is at fault; `diagnostics` holds every finding, sorted by position."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render_diagnostics(diagnostics))
        self.diagnostics = tuple(diagnostics)


class DataError(DdspecError):
    """A dataset is missing, incomplete or unfit."""


class DataMissing(DataError):
    """A dataset is not there at all."""


class StoreError(DdspecError):
    """An artifact cannot be read, written, or trusted."""


class MachineError(DdspecError):
    """The machine at hand cannot do what was asked."""


class RecordError(DdspecError):
    """A plan, a record or a run folder cannot be read or is of another format."""


def sorted_by_position(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By position; what has none comes last."""

    def position(found: Diagnostic) -> tuple[str, int, int, str]:
        span = found.span or Span(line=10**9, column=0)
        return (found.file if found.span is None else "", span.line, span.column, found.code)

    return sorted(diagnostics, key=position)


def diagnostic_json(found: Diagnostic) -> DiagnosticJson:
    """A finding for machines; line and column are null for what the command line set."""
    return DiagnosticJson(
        file=found.file,
        line=found.span.line if found.span else None,
        column=found.span.column if found.span else None,
        severity=found.severity,
        code=found.code,
        key=found.key,
        message=found.message,
        hint=found.hint,
    )


def render_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """Every finding with its place, the source line underlined, and the way out."""
    return "\n\n".join(render_diagnostic(found) for found in diagnostics)


def render_diagnostic(found: Diagnostic) -> str:
    """One finding as a compiler would print it."""
    lines = [f"{found.severity}[{found.code}]: {found.message}"]
    if found.span is not None:
        number = str(found.span.line)
        gutter = " " * len(number)
        shown, start = visible_part(found.line_text, found.span.column)
        width = max(1, min(cell_count(found.line_text, found.span), 160 - start))
        lines += [
            f"  --> {found.file}:{found.span.line}:{found.span.column}",
            f" {number} | {shown}",
            f" {gutter} | {' ' * start}{'^' * width}",
        ]
    elif found.file:
        lines.append(f"  --> {found.file}")
    if found.hint:
        lines.append(f"  = hint: {found.hint}")
    return "\n".join(lines)


def visible_part(text: str, column: int) -> tuple[str, int]:
    """The line as a terminal shows it, cut where it is long, and the cell of `column`."""
    first = max(0, column - 80)
    shown = "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in text[first : first + 160])
    return shown, sum(cell_width(c) for c in text[first : column - 1])


def cell_count(text: str, span: Span) -> int:
    """Terminal cells under a span."""
    return sum(cell_width(c) for c in text[span.column - 1 : span.column - 1 + span.width])


def cell_width(character: str) -> int:
    """Two cells for wide characters, none for combining ones."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
