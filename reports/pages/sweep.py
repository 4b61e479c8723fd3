"""The page of a sweep: what changed from run to run, and the results."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.keys.declare import NAME
from ddspec.dsl.record.file_names import FIGURES, REPORT_HTML, SWEEP_JSON
from ddspec.dsl.record.seed_groups import SEED_AXIS
from ddspec.dsl.record.statistics import TEST_LEVEL, Welch, holm, welch
from ddspec.dsl.record.sweep import SweepRecord, SweptRun
from ddspec.reports.embed import json_for_script
from ddspec.reports.figures.chart import Chart, write_numbers
from ddspec.reports.figures.sweep import curves, every_run
from ddspec.reports.files import SWEEP_HINT, read_document, refuse_contradictions
from ddspec.reports.format import (
    NO_BREAK,
    PLUS_MINUS,
    accuracy_words,
    date_text,
    duration,
    fixed,
    plural,
    signed,
    significant,
)
from ddspec.reports.pages.compared_runs import ComparedRun
from ddspec.reports.pages.sweep_parts import (
    change_rows,
    contact_sheets_of,
    cut_words,
    overlays,
    runs_beside,
)
from ddspec.reports.pages.template import page_template
from ddspec.reports.tables.best import best_words
from ddspec.reports.tables.seeds import seed_row
from ddspec.reports.tables.summary import signs_words


def render_sweep(folder: Path) -> Path:
    """Write report.html and the numbers of its figures into a sweep's folder.

    Returns the path of the page. Raises RecordError if the sweep's record is missing or damaged.
    """
    record = read_sweep(folder)
    with refuse_contradictions(f"{folder.name}/{SWEEP_JSON}", SWEEP_HINT):
        runs = runs_beside(folder, record)
        charts = [every_run(record), *curves(record), *overlays(runs)]
        page = sweep_html(record, charts, runs)
    write_numbers(charts, folder / FIGURES)
    return write_text(folder / REPORT_HTML, page)


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of a sweep's folder."""
    return read_document(folder, SWEEP_JSON, SweepRecord, SWEEP_HINT)


def sweep_html(
    record: SweepRecord, charts: Sequence[Chart], runs: Sequence[ComparedRun] = ()
) -> str:
    """Return the page of a sweep; `runs` are those whose folders are there, for their images."""
    changes, sheets = change_rows(record), contact_sheets_of(runs)
    return page_template("sweep.html").render(
        record=record,
        summary=summary(record),
        axes=[axis.name for axis in record.axes],
        experts_differ=len({run.expert for run in record.runs} - {None}) > 1,
        has_published=any(run.compared for run in record.runs),
        date=date_text(record.date),
        sections=sections(record, bool(changes), bool(sheets)),
        changes=changes,
        sheets=sheets,
        sheets_cut=cut_words(len(sheets), len(record.runs)),
        rows=[row for row in rows_of(record) if row.status != "not run"],
        waiting=[run.label for run in record.runs if run.status == "not run"],
        limits=limits(record),
        best=best_of_sweep(record),
        judged_by=judged_by(record),
        groups=[seed_row(group) for group in record.groups],
        other_axes=[axis.name for axis in record.axes if axis.name != SEED_AXIS],
        groups_published=any(group.compared for group in record.groups),
        charts=charts,
        spec_lines=record.spec.rstrip("\n").split("\n"),
        record_json=json_for_script(record.model_dump_json()),
    )


def sections(record: SweepRecord, changes: bool, images: bool) -> list[tuple[str, str]]:
    """Return ids and titles of the page's sections; those that it lacks are left out."""
    return [
        ("runs", "Runs"),
        *([("seeds", "Over seeds")] if record.groups else []),
        *([("changes", "What changes")] if changes else []),
        *([("images", "Synthetic images")] if images else []),
        ("figures", "Figures"),
        *([("limits", "Limits")] if limits(record) else []),
        ("spec", "Spec"),
    ]


def limits(record: SweepRecord) -> list[str]:
    """Return what the numbers of a sweep do not show."""
    sentences = []
    if SEED_AXIS not in [axis.name for axis in record.axes]:
        sentences.append(
            "Every run distilled once, with one seed. The tests are over networks that were "
            "trained on one synthetic set each, so another seed may give other verdicts; a list "
            "of seeds in [sweep] shows how far sets differ."
        )
    if any(run.accuracy and run.accuracy.choose == "best_on_test" for run in record.runs):
        sentences.append(
            "Results are maxima over evaluations on the test set, which the tests ignore."
        )
    if any(row.gain for row in rows_of(record)):
        sentences.append(
            "A gain that differs from zero holds for the protocol, the dataset and the number of "
            "images per class of this sweep."
        )
    return sentences


def summary(record: SweepRecord) -> str:
    """Return the progress of a sweep in a sentence."""
    counts: dict[str, int] = {}
    for run in record.runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    counted = ", ".join(f"{count} {status}" for status, count in counts.items())
    total = duration(sum(run.seconds for run in record.runs))
    return f"{plural(len(record.runs), 'run')}: {counted}; {total} in all"


@dataclass(frozen=True)
class SweepRow:
    """One run in the table."""

    entries: tuple[str, ...]
    status: str
    best: bool
    """Whether no run of the sweep has a higher mean."""
    accuracy: str
    """Mean and standard deviation, and the number of networks."""
    gain: str
    """Difference from the run that this one is compared with, in points, with its interval."""
    verdict: str
    """Whether the gain is told from zero, among all gains of the sweep."""
    against: str
    random_real: str
    expert: str
    avg_var: str
    published: tuple[tuple[str, str], ...]
    """Published accuracies, each with its source."""
    seconds: str
    folder: str
    address: str
    """Relative address of the run's page; empty if there is none."""
    digest: str
    """The part of the plan's digest that is in the name of the run folder."""
    signs: str
    """Signs that the run failed, in a few words."""
    cause: str
    """Why the run ended as it did, and the same signs in full."""


def rows_of(record: SweepRecord) -> list[SweepRow]:
    """Return every run, with the verdict on its gain among all gains of the sweep."""
    tests = [gain_test(record, run) for run in record.runs]
    adjusted = iter(holm([test.p for test in tests if test is not None]))
    ps = [None if test is None else next(adjusted) for test in tests]
    return [row_of(record, run, p) for run, p in zip(record.runs, ps, strict=True)]


JUDGING_KEYS = (
    "dataset.",
    *("evaluation.protocol", "evaluation.epochs", "evaluation.batch_size"),
    *("evaluation.augmentation", "evaluation.choose"),
)
"""Beginnings of the keys that say on what and by what a synthetic set is judged."""


def judging_settings(run: SweptRun) -> dict[str, Any]:
    """Return what a run changes of how its set is judged."""
    return {key: value for key, value in run.settings.items() if key.startswith(JUDGING_KEYS)}


def judged_by(record: SweepRecord) -> list[str]:
    """Return the keys by which the runs of a sweep are judged differently."""
    settings = [judging_settings(run) for run in record.runs]
    keys = dict.fromkeys(key for of_run in settings for key in of_run)
    return [key for key in keys if len({repr(of_run.get(key)) for of_run in settings}) > 1]


def gain_test(record: SweepRecord, run: SweptRun) -> Welch | None:
    """Return the test of a run's gain; None if it has none, or if it cannot be tested."""
    other = held_against(record, run)
    if other is None or run.accuracy is None or other.accuracy is None:
        return None
    if judging_settings(run) != judging_settings(other):
        return None
    return welch(run.accuracy, other.accuracy)


def best_of_sweep(record: SweepRecord) -> str:
    """Return the outcome of the sweep in a sentence; empty if its runs are not judged alike.

    Runs that differ in their seed alone are one result: none of them is the better one.
    """
    if judged_by(record):
        return ""
    if not record.groups:
        return best_words([(run.label, run.accuracy) for run in record.runs if run.accuracy])
    if len(record.groups) > 1:
        return best_words([(", ".join(g.entries), g.accuracy) for g in record.groups])
    (group,) = record.groups
    words = f"{fixed(group.accuracy.mean)}{NO_BREAK}% over {plural(len(group.runs), 'seed')}"
    if len(group.runs) > 1:
        words += f", with a standard deviation of {fixed(group.std_over_sets)} points over the sets"
    return words + "."


def row_of(record: SweepRecord, run: SweptRun, p: float | None = None) -> SweepRow:
    """Return accuracy, gain and cost of one run; `p` is that of its gain, adjusted by Holm."""
    other, test = held_against(record, run), gain_test(record, run)
    gain = verdict = ""
    if other is not None and run.accuracy is not None and other.accuracy is not None:
        if judging_settings(run) != judging_settings(other):
            verdict = "not judged alike"
        else:
            verdict = "not decidable"
    if test is not None:
        gain = f"{signed(test.difference)} {PLUS_MINUS} {fixed(test.half)}"
    if p is not None:
        verdict = "differs" if p < TEST_LEVEL else "no difference found"
    accuracy = run.accuracy
    return SweepRow(
        entries=run.entries,
        status=run.status,
        best=accuracy is not None and accuracy.mean == highest_mean(record),
        accuracy=accuracy_words(accuracy) if accuracy else "",
        gain=gain,
        verdict=verdict,
        against=other.label if other is not None and verdict else "",
        random_real=fixed(run.random_real.mean) if run.random_real else "",
        expert=fixed(run.expert) if run.expert is not None else "",
        avg_var=significant(run.avg_var) if run.avg_var is not None else "",
        published=tuple(
            (f"{compared.expectation.accuracy:g}", compared.expectation.source)
            for compared in run.compared
        ),
        seconds=duration(run.seconds),
        folder=run.folder,
        address=page_address(run),
        digest=run.folder.rpartition("-")[2],
        signs=signs_words(run.warnings),
        cause=run.cause or " ".join(sign.text for sign in run.warnings),
    )


def highest_mean(record: SweepRecord) -> float | None:
    """Return the best mean of the sweep; None if it has several seeds, or judges runs unlike."""
    means = [run.accuracy.mean for run in record.runs if run.accuracy is not None]
    is_told = len(means) > 1 and not judged_by(record) and not record.groups
    return max(means) if is_told else None


def page_address(run: SweptRun) -> str:
    """Return the relative address of a run's page; empty if the run has none.

    A folder that is not a plain name could lead anywhere, so it is not linked to.
    """
    if run.status == "not run" or not re.fullmatch(NAME, run.folder):
        return ""
    return f"../{run.folder}/{REPORT_HTML}"


def held_against(record: SweepRecord, run: SweptRun) -> SweptRun | None:
    """Return the run that `run` is compared with.

    It is the run of the case whose changes `run` inherits, or else the sweep's first run with the
    same seed: another seed is no change whose gain could be told.
    """
    names = [axis.name for axis in record.axes]
    seed = names.index(SEED_AXIS) if SEED_AXIS in names else None
    first = next(
        other for other in record.runs if seed is None or other.entries[seed] == run.entries[seed]
    )
    if run.after is None:
        return None if run is first else first
    axis = names.index("case")
    wanted = (*run.entries[:axis], run.after, *run.entries[axis + 1 :])
    return next((other for other in record.runs if other.entries == wanted), None)
