"""Diagnostics of a spec, their text in a terminal, and the project's exceptions.

    DdspecError
    |-- SpecError        the spec is at fault; has every Diagnostic              exit 3
    |-- DataError        a dataset is unusable; names the file                   exit 5
    |   `-- DataMissing  a dataset is missing; says which files to put where     exit 5
    |-- StoreError       an artifact is damaged or of another format             exit 5
    |-- MachineError     the machine lacks memory or the requested device        exit 5
    `-- RecordError      a record, plan or run folder is damaged or unknown      exit 5

Every other module may import this one, which imports only `terminal_text`.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from ddspec.dsl.terminal_text import MOST_IN_MESSAGE, cut_text, terminal_line

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Span:
    """Part of one line of a text: line and column from 1, `width` in characters."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a stable code, the key at fault, the problem, and a hint."""

    code: str
    key: str
    """Dotted path of the key, with [n] for the n-th table of an array (from 1)."""
    problem: str
    hint: str = ""
    severity: Severity = "error"
    path: tuple[str | int, ...] = ()
    """Path of the key in the document, with indices counted from 0."""
    involves: tuple[str, ...] = ()
    """Other keys of the finding, which is dropped if one of them is at fault."""
    file: str = ""
    """Name of the file, or the command-line option that set the key."""
    span: Span | None = None
    line_text: str = ""
    """Text of the line that the span is on."""

    @property
    def message(self) -> str:
        """The key and the problem in one sentence."""
        key = cut_text(self.key, MOST_IN_MESSAGE)
        return f"{key}: {self.problem}" if key else self.problem


class DiagnosticJson(TypedDict):
    """The JSON object that `ddspec check --json` prints for each finding."""

    file: str
    line: int | None
    column: int | None
    severity: str
    code: str
    key: str
    message: str
    hint: str


class DdspecError(Exception):
    """An error whose message is enough for the user, without a traceback."""

    hint: str = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SpecError(DdspecError):
    """The spec is at fault; `diagnostics` holds every finding, sorted by position."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render_diagnostics(diagnostics))
        self.diagnostics = tuple(diagnostics)

    @property
    def lacks_extension(self) -> bool:
        """Whether the only problem is an extension that is missing, or installed differently."""
        return {diagnostic.code for diagnostic in self.diagnostics} == {"extension-missing"}


class DataError(DdspecError):
    """A dataset is missing, incomplete or unusable."""


class DataMissing(DataError):
    """A dataset is missing."""


class StoreError(DdspecError):
    """An artifact cannot be read or written, or its content is wrong."""


class MachineError(DdspecError):
    """The machine lacks what a command needs: memory, a device, a package."""


class RecordError(DdspecError):
    """A plan, a record or a run folder cannot be read, or has another format."""


def sorted_by_position(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics by position in the file, those without one last."""

    def position(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
        span = diagnostic.span or Span(line=10**9, column=0)
        file = diagnostic.file if diagnostic.span is None else ""
        return (file, span.line, span.column, diagnostic.code)

    return sorted(diagnostics, key=position)


def diagnostic_json(diagnostic: Diagnostic) -> DiagnosticJson:
    """Return a diagnostic as JSON; line and column are null if an option set the key."""
    return DiagnosticJson(
        file=diagnostic.file,
        line=diagnostic.span.line if diagnostic.span else None,
        column=diagnostic.span.column if diagnostic.span else None,
        severity=diagnostic.severity,
        code=diagnostic.code,
        key=diagnostic.key,
        message=diagnostic.message,
        hint=diagnostic.hint,
    )


def render_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """Return every diagnostic as text, with a blank line between them."""
    return "\n\n".join(render_diagnostic(diagnostic) for diagnostic in diagnostics)


def render_diagnostic(diagnostic: Diagnostic) -> str:
    """Return a diagnostic as a compiler prints it, with its source line underlined."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    span, text = diagnostic.span, diagnostic.line_text
    if span is not None:
        number = str(span.line)
        gutter = " " * len(number)
        shown, start = visible_part(text, span.column)
        width = max(1, min(cell_count(text, span), MOST_SHOWN - start))
        lines += [
            f"  --> {diagnostic.file}:{span.line}:{span.column}",
            f" {number} | {shown}",
            f" {gutter} | {' ' * start}{'^' * width}",
        ]
    elif diagnostic.file:
        lines.append(f"  --> {diagnostic.file}")
    if diagnostic.hint:
        lines.append(f"  = hint: {diagnostic.hint}")
    return "\n".join(map(terminal_line, lines))


MOST_SHOWN = 160
"""Most characters of a source line that are shown."""


def visible_part(text: str, column: int) -> tuple[str, int]:
    """Return the part of a line around `column`, and its terminal cell in that part.

    Characters that a terminal acts on or hides are shown as spaces.
    """
    first = max(0, column - MOST_SHOWN // 2)
    part = text[first : first + MOST_SHOWN]
    shown = "".join(c if c.isprintable() else " " for c in part)
    return shown, sum(cell_width(c) for c in text[first : column - 1])


def cell_count(text: str, span: Span) -> int:
    """Return the number of terminal cells that a span takes."""
    return sum(cell_width(c) for c in text[span.column - 1 : span.column - 1 + span.width])


def cell_width(character: str) -> int:
    """Return the cells of a character: 2 if it is wide, 0 if it is combining."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
