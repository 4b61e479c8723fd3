"""The files of a run folder: checksums, and what the record gives again."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import (
    FIGURES,
    IMAGES,
    PLAN_JSON,
    RECORD_JSON,
    REPORT_ASSETS,
    REPORT_HTML,
    RESOLVED_TOML,
    SPEC_TOML,
    SYNTHETIC_H5,
    WHITENING_H5,
)
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import check_regular_file, read_regular_file, resolved, sha256_of
from ddspec.dsl.terminal_text import escape_text
from ddspec.reports.figures.chart import Chart, number_files
from ddspec.verification.finding import (
    BY_ROUNDING,
    Finding,
    diff_paths,
    finding,
    in_words_of_its_version,
    same_text,
)


def check_files(folder: Path, record: Record, charts: Sequence[Chart]) -> Iterator[Finding]:
    """Check every file of a run folder but the page; `charts` are the figures of the record."""
    numbers = number_files(charts)
    yield check_names(record)
    for name, expected in record.files.items():
        yield check_checksum(folder, name, expected)
    yield from check_texts(folder, record)
    yield from check_plan_file(folder, record)
    yield from check_figures(folder, record, numbers)
    yield from name_other_files(folder, record, numbers)


def written_names(record: Record) -> list[str]:
    """Return the files that a run writes beside its record, with a checksum in it."""
    pictures = [f"{IMAGES}/{sheet.file}" for sheet in record.sheets]
    arrays = [SYNTHETIC_H5] if pictures else []
    # Sets of older runs hold the eigenvectors of their whitening themselves.
    if arrays and record.plan.dataset.dataset.zca and WHITENING_H5 in record.files:
        arrays.append(WHITENING_H5)
    return [SPEC_TOML, RESOLVED_TOML, PLAN_JSON, *arrays, *pictures]


def check_names(record: Record) -> Finding:
    """Check that the record has the checksum of every file that a run writes, and of no other."""
    names = written_names(record)
    missing = [f"it has none of {name}" for name in names if name not in record.files]
    foreign = [f"no run writes {name!r}" for name in record.files if name not in names]
    return finding("checksums in the record", missing + foreign)


def check_checksum(folder: Path, name: str, expected: str) -> Finding:
    """Check one file by its checksum in the record."""
    path = folder / name
    what = escape_text(name)
    try:
        check_regular_file(path)
        if not resolved(path).is_relative_to(resolved(folder)):
            return Finding(what, "fault", "the record names a file outside its folder")
        if sha256_of(path) != expected:
            return Finding(what, "fault", "it is not the file that the run wrote")
        return Finding(what, "ok")
    except FileNotFoundError:
        if name == WHITENING_H5:
            return Finding(what, "not checked", "it is missing; the real images give it")
        return Finding(what, "fault", "it is missing")
    except OSError as error:
        return Finding(what, "fault", f"it cannot be read: {error.strerror}")


def check_texts(folder: Path, record: Record) -> Iterator[Finding]:
    """Check that the texts beside the record are those in it, and the form of the record."""
    for name, text, written in (
        (SPEC_TOML, record.spec, False),
        (RESOLVED_TOML, record.resolved, False),
        (RECORD_JSON, record.model_dump_json(indent=1), True),
    ):
        what = f"{name} against the record" if not written else f"the text of {name}"
        try:
            same = read_regular_file(folder / name) == text.encode()
        except FileNotFoundError:
            yield Finding(what, "not checked", "it is missing")
            continue
        except OSError as error:
            yield Finding(what, "fault", str(error.strerror))
            continue
        problem = "it is not as ddspec writes it" if written else "it is not the text in the record"
        found = finding(what, [] if same else [problem])
        yield in_words_of_its_version(record, found) if written else found


def check_plan_file(folder: Path, record: Record) -> Iterator[Finding]:
    """Check that plan.json is the plan in the record."""
    what = "plan.json against the record"
    try:
        plan = Plan.model_validate_json(read_regular_file(folder / PLAN_JSON))
    except FileNotFoundError:
        yield Finding(what, "not checked", "it is missing")
    except OSError as error:
        yield Finding(what, "fault", str(error.strerror))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        yield Finding(what, "fault", problem)
    else:
        yield finding(what, diff_paths(plan, record.plan))


def check_figures(folder: Path, record: Record, numbers: Mapping[str, str]) -> Iterator[Finding]:
    """Check the numbers of every figure, which follow from the record."""
    what = f"{FIGURES}/"
    if not (folder / FIGURES).exists():
        yield Finding(what, "not checked", "it is missing")
        return

    rounded: list[str] = []

    def faults() -> Iterator[str]:
        for name, text in numbers.items():
            try:
                written = read_regular_file(folder / FIGURES / name).decode()
            except OSError as error:
                yield f"{name} cannot be read: {error.strerror}"
                continue
            except UnicodeDecodeError:
                yield f"{name} is not a text file"
                continue
            if not same_text(written, text):
                yield f"{name} differs from what ddspec report makes of the record"
            elif written != text:
                rounded.append(name)

    found = in_words_of_its_version(record, finding(what, faults(), f"{len(numbers)} files"))
    if rounded and found.verdict == "ok":
        found = Finding(what, "not checked", f"{', '.join(rounded)} differ {BY_ROUNDING}")
    yield found


MOST_OTHER_FILES = 20
"""Most files that are named one by one as not checked."""


def name_other_files(folder: Path, record: Record, numbers: Mapping[str, str]) -> Iterator[Finding]:
    """Name the files that nothing holds, such as the progress in events.jsonl."""
    known = {RECORD_JSON, REPORT_HTML, *record.files, *written_names(record)}
    known |= {f"{FIGURES}/{name}" for name in numbers}

    def others() -> Iterator[str]:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            held = name in known or name.startswith(f"{REPORT_ASSETS}/")
            if not held and (path.is_symlink() or not path.is_dir()):
                yield name

    named = list(islice(others(), MOST_OTHER_FILES + 1))
    for name in named[:MOST_OTHER_FILES]:
        yield Finding(escape_text(name), "not checked", "the record does not give it again")
    if len(named) > MOST_OTHER_FILES:
        yield Finding("other files", "not checked", "there are more that no run writes")
