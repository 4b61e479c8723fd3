"""README.md of a folder of runs: published numbers beside those that the runs measured."""

import textwrap
from pathlib import Path

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import RECORD_JSON
from ddspec.dsl.regular_file import read_regular_file, resolved
from ddspec.reports.files import missing_document, refuse_contradictions
from ddspec.reports.pages.run import read_record
from ddspec.reports.tables.published import (
    PublishedRow,
    measured_sentence,
    published_markdown,
    published_rows,
    short_markdown,
)

README = "README.md"
NOTES = "notes.md"
"""What a person has to say of a run, in its folder; of all runs, beside the table."""

MARK = "<!-- written by ddspec report --published -->"

HEAD = """\
# Published numbers, run again

Each row is a published number and what ddspec measured with the spec that states its settings.
Accuracies are in percent: mean and standard deviation over fresh networks (n of them), and over
synthetic sets if there are several. The verdict is that of Welch's test at 5 %, and the difference
has its 95 % interval; of several sets the means are tested, because networks of one set share it.
A comparison is not decidable if too little was published for a test, if one network was trained,
or if the published number is a mean over several sets and only one was made. Departures are
settings that differ from the published ones: where they name fewer iterations, the verdict is on
that shorter run. The hours include the work of reused artifacts.
"""


def write_published(folder: Path) -> Path:
    """Write README.md into a folder of runs; return its path.

    Raises RecordError if no run compares with a published number, if a record cannot be read, or
    if the README.md that is there was not written by ddspec.
    """
    path = folder / README
    if path.is_symlink() or (path.exists() and MARK not in read_text(path)):
        raise RecordError(f"{path} was not written by ddspec", hint="move it away")
    return write_text(path, published_text(folder))


def published_text(folder: Path) -> str:
    """Return the text of README.md: the table, and the notes on each row and on all of them."""
    rows = rows_of(folder)
    notes = [section(folder, row) for row in rows if has_notes(folder, row)]
    general = folder / NOTES
    parts = [
        MARK,
        HEAD.rstrip(),
        published_markdown(rows),
        *([read_text(general).strip()] if general.exists() else []),
        *dict.fromkeys(notes),
    ]
    return "\n\n".join(parts) + "\n"


def published_summary(folder: Path) -> str:
    """Return a short table of the runs in a folder, for a README.md beside that folder.

    An experiment that was run with several settings has the row with the fewest departures.
    """
    nearest: dict[tuple[str, str], PublishedRow] = {}
    for row in sorted(rows_of(folder), key=lambda row: len(row.departures)):
        nearest.setdefault((row.name, row.compared.expectation.network), row)
    rows = sorted(nearest.values(), key=lambda row: (row.dataset, row.ipc, row.title))
    return short_markdown(rows, folder.name)


def rows_of(folder: Path) -> list[PublishedRow]:
    """Return the rows of the runs in a folder. Raises RecordError if there are none."""
    if not folder.is_dir():
        raise missing_document(folder, RECORD_JSON, hint="")
    names = sorted(path.name for path in folder.iterdir() if (path / RECORD_JSON).exists())
    records = [read_record(folder / name) for name in names]
    with refuse_contradictions("a record", "ddspec verify finds the fault"):
        rows = published_rows(names, records)
    if not rows:
        raise RecordError(
            f"no run in {folder} is compared with a published number",
            hint="run a spec with [[expect]], and copy its run folder there with ddspec export",
        )
    return rows


MEASURED, ACCURACY, INDENT = "# Measured:", "# Accuracy:", "#            "


def write_headers(folder: Path, specs: Path) -> list[Path]:
    """Write what the runs in a folder measured into the headers of their specs below `specs`.

    Return the paths of the specs that changed.
    """
    return [write_text(path, text) for path, text in changed_headers(folder, specs).items()]


def changed_headers(folder: Path, specs: Path) -> dict[Path, str]:
    """Return the new text of every spec whose header does not say what the runs measured.

    A spec has a paragraph `Measured` after `Accuracy` if a run of it is there. Nothing else in it
    changes.
    """
    rows: dict[str, list[PublishedRow]] = {}
    for row in rows_of(folder):
        rows.setdefault(row.name, []).append(row)
    changed = {}
    for path in sorted(specs.rglob("*.toml")):
        text = read_text(path)
        name = next((line for line in text.splitlines() if line.startswith("name = ")), "")
        measured = rows.get(name.removeprefix("name = ").strip('"'), [])
        header = with_measured(text, measured, resolved(folder).name)
        if header != text:
            changed[path] = header
    return changed


def with_measured(text: str, rows: list[PublishedRow], where: str) -> str:
    """Return the text of a spec with a paragraph in its header on what was measured."""
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith(MEASURED)), None)
    if start is not None:
        del lines[start : paragraph_end(lines, start)]
    accuracy = next((i for i, line in enumerate(lines) if line.startswith(ACCURACY)), None)
    if rows and accuracy is not None:
        sentences = [f"{measured_sentence(row)}: {where}/{row.folders[0]}" for row in rows]
        paragraph = textwrap.wrap(
            "; ".join(sentences),
            width=100,
            initial_indent=f"{MEASURED:<{len(INDENT)}}",
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        end = paragraph_end(lines, accuracy)
        lines[end:end] = paragraph
    return "\n".join(lines)


def paragraph_end(lines: list[str], start: int) -> int:
    """Return the number of the line after a paragraph of a header."""
    end = start + 1
    while end < len(lines) and lines[end].startswith(INDENT):
        end += 1
    return end


def has_notes(folder: Path, row: PublishedRow) -> bool:
    """Return whether a run of the row has notes."""
    return any((folder / name / NOTES).exists() for name in row.folders)


def section(folder: Path, row: PublishedRow) -> str:
    """Return the notes on the runs of a row."""
    paths = [folder / name / NOTES for name in row.folders]
    texts = [read_text(path).strip() for path in paths if path.exists()]
    return "\n\n".join([f"## {row.title}", *texts])


def read_text(path: Path) -> str:
    """Return the text of a file. Raises RecordError if it cannot be read."""
    try:
        return read_regular_file(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read as text: {error}") from None
