"""Runs as a comparison calls them: labels that tell them apart, records, images."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ddspec.dsl.record.file_names import REPORT_HTML
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import resolved
from ddspec.reports.pages.run import read_images, read_record


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
    """Return the runs with labels: their names, or their folders if names are equal."""
    labels = unique_labels([run.label for run in runs], [run.record.plan.folder for run in runs])
    numbered = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    return [
        replace(run, label=label)
        for run, label in zip(runs, unique_labels(labels, numbered), strict=True)
    ]


def unique_labels(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return the labels; equal ones are replaced by their longer forms."""
    return [
        label if labels.count(label) == 1 else more
        for label, more in zip(labels, longer, strict=True)
    ]
