"""Runs as a comparison calls them: labels that tell them apart, records, images."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ddspec.dsl.record.file_names import REPORT_HTML
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import resolved
from ddspec.reports.format import significant
from ddspec.reports.pages.run import read_images, read_record
from ddspec.reports.tables.resolved import resolved_rows


@dataclass(frozen=True)
class ComparedRun:
    """One run as the page calls it."""

    label: str
    record: Record
    images: Mapping[str, bytes]
    address: str
    """Relative address of the run's page; empty if it is not below this page's folder."""


def read_run(folder: Path, page: Path) -> ComparedRun:
    """Return the record and the images of one run."""
    record = read_record(folder)
    own_page = resolved(folder) / REPORT_HTML
    below = own_page.is_relative_to(resolved(page).parent) and own_page.exists()
    address = Path(os.path.relpath(own_page, resolved(page).parent)).as_posix() if below else ""
    return ComparedRun(record.name, record, read_images(folder, record), address)


def with_labels(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Return the runs with labels that differ.

    A label is the run's name. Runs of one name are told apart by the settings in which they
    differ, if these are few, or else by their folders. That of a preview says so.
    """
    names = [run.record.name for run in runs]
    alike = [run for run in runs if names.count(run.record.name) > 1]
    differing = {name: settings_labels(alike, name) for name in {*names}}
    settings = [next(differing[name], "") if names.count(name) > 1 else "" for name in names]
    folders = [run.record.plan.folder for run in runs]
    labels = unique_labels(names, [s or f for s, f in zip(settings, folders, strict=True)])
    labels = unique_labels(labels, folders)
    numbered = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    return [
        replace(run, label=f"{label} (preview)" if run.record.plan.preview else label)
        for run, label in zip(runs, unique_labels(labels, numbered), strict=True)
    ]


MOST_LABEL_KEYS = 2
"""Most settings in a label."""
MOST_VALUE_LETTERS = 24
"""Most characters of a value in a label."""


def settings_labels(runs: Sequence[ComparedRun], name: str) -> Iterator[str]:
    """Yield, for each run of that name, the settings in which these runs differ; "" if many."""
    of_name = [run for run in runs if run.record.name == name]
    differences = spec_differences(of_name) if of_name else []
    for number in range(len(of_name)):
        pairs = [
            (key.rpartition(".")[2], label_value(values[number])) for key, values in differences
        ]
        short = len(pairs) <= MOST_LABEL_KEYS and all(
            len(value) <= MOST_VALUE_LETTERS for _, value in pairs
        )
        yield ", ".join(f"{key} = {value}" for key, value in pairs) if short else ""


def label_value(value: str) -> str:
    """Return a value as a label has it: a number as short as it can be written."""
    try:
        number = float(value)
    except ValueError:
        return value
    short = significant(number)
    return short if float(short) == number and len(short) < len(value) else value


def unique_labels(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return the labels; equal ones are replaced by their longer forms."""
    return [
        label if labels.count(label) == 1 else more
        for label, more in zip(labels, longer, strict=True)
    ]


NO_PART = ("name", "title", "ddspec", "expect")
"""Keys that are not part of the experiment."""
ABSENT = "\N{EN DASH}"


def spec_differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return the keys whose values differ between runs, with the value of each run."""
    values = [settings_of(run) for run in runs]
    keys = dict.fromkeys(key for keys_of_run in values for key in keys_of_run)
    rows = [(key, [keys_of_run.get(key, ABSENT) for keys_of_run in values]) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]


def settings_of(run: ComparedRun) -> dict[str, str]:
    """Return every key of a run's experiment with its value as text."""
    rows = resolved_rows(run.record)
    return {row.key: row.value for row in rows if is_part(row.key)}


def is_part(key: str) -> bool:
    """Return whether a key belongs to the experiment itself."""
    return key.partition(".")[0].partition("[")[0] not in NO_PART
