"""What the page of a sweep shows of its runs: what each changes, their images and curves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.key_path import dotted, leaves
from ddspec.dsl.keys.declare import NAME
from ddspec.dsl.record.file_names import REPORT_HTML
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis, SweptRun
from ddspec.dsl.toml_text import toml_text
from ddspec.reports.figures.chart import Chart
from ddspec.reports.figures.contact_sheet import (
    ContactSheet,
    contact_sheet,
    embed_inside,
    shown_part,
    tiles,
)
from ddspec.reports.figures.gallery import PIXELS_INSIDE, open_sheet, shown_sheets
from ddspec.reports.pages.compared_runs import ComparedRun, read_run
from ddspec.reports.pages.comparison_parts import accuracy_overlay, series_overlay


def runs_beside(folder: Path, record: SweepRecord) -> list[ComparedRun]:
    """Return the runs of a sweep whose folders lie beside its own, with the labels of the sweep.

    Folders that are missing, damaged or of another plan are left out: the sweep's record alone
    says how its runs ended.
    """
    runs = []
    for run in record.runs:
        if run.status == "not run" or not re.fullmatch(NAME, run.folder):
            continue
        try:
            beside = read_run(folder.parent / run.folder, folder / REPORT_HTML)
        except RecordError:
            continue
        if beside.record.plan.digest == run.digest:
            runs.append(replace(beside, label=run.label))
    return runs


def contact_sheets_of(runs: Sequence[ComparedRun]) -> list[ContactSheet]:
    """Return a contact sheet of each run's result, as many as fit into a page."""
    sheets: list[ContactSheet] = []
    pixels = 0
    for run in runs:
        shown = shown_sheets(run.record)
        if not shown:
            continue
        image = tiles(shown[-1], open_sheet(shown[-1], run.images))
        pixels += image.width * image.height
        if pixels > PIXELS_INSIDE:
            break
        part = f"{run.label}: {shown_part(shown[-1])}"
        sheets.append(contact_sheet(image, run.label, part, "run", embed_inside))
    return sheets


def cut_words(shown: int, total: int) -> str:
    """Return how many runs have their images on the page; empty if all have."""
    return "" if shown == total else f"Shown are {shown:,} of {total:,} runs."


def overlays(runs: Sequence[ComparedRun]) -> list[Chart]:
    """Return accuracy and matching loss over iterations, with a line for each run."""
    if len(runs) < 2:
        return []
    networks = dict.fromkeys(name for run in runs for name in run.record.results.per_network)
    return [
        *(accuracy_overlay(network, runs) for network in networks),
        series_overlay("matching_loss", "Matching loss", runs),
    ]


ChangeRow = tuple[str, str, tuple[tuple[str, str], ...]]
"""A named entry of an axis, the case that it goes on from, and the keys that it sets."""


def change_rows(record: SweepRecord) -> list[ChangeRow]:
    """Return what each named entry of the sweep's axes changes.

    An axis over one key needs no row: its entries name the value themselves.
    """
    return [
        change_row(record, number, entry)
        for number, axis in enumerate(record.axes)
        if not is_of_one_key(record, axis)
        for entry in dict.fromkeys(axis.entries)
    ]


def is_of_one_key(record: SweepRecord, axis: SweptAxis) -> bool:
    """Return whether every run has a value for the key that an axis is named after."""
    return all(axis.name in run.settings for run in record.runs)


def change_row(record: SweepRecord, number: int, entry: str) -> ChangeRow:
    """Return the settings that all runs of an entry share, and other runs do not."""
    of_entry = [run for run in record.runs if run.entries[number] == entry]
    settings = shared(of_entry)
    after = next((run.after for run in of_entry if run.after), "") or ""
    earlier = [run for run in record.runs if after and run.entries[number] == after]
    before = shared(earlier) if earlier else shared(record.runs)
    changed = {key: value for key, value in settings.items() if before.get(key) != value}
    return (entry, after if earlier else "", tuple((k, toml_text(v)) for k, v in changed.items()))


def shared(runs: Sequence[SweptRun]) -> dict[str, Any]:
    """Return the settings in which runs agree, by key, inline tables taken apart."""
    of_runs: list[Mapping[str, Any]] = [flat_settings(run) for run in runs]
    if not of_runs:
        return {}
    return {
        key: value
        for key, value in of_runs[0].items()
        if all(key in settings and settings[key] == value for settings in of_runs)
    }


def flat_settings(run: SweptRun) -> dict[str, Any]:
    """Return the values that a run changes by dotted key; later changes win."""
    flat: dict[str, Any] = {}
    for key, value in run.settings.items():
        flat.update((dotted((key, *path)), leaf) for path, leaf in leaves(value))
    return flat
