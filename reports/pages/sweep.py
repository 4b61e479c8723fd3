"""The page of a sweep: what changed from run to run, and the results."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.record.file_names import FIGURES, REPORT_HTML, SWEEP_JSON
from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.seed_groups import SEED_AXIS
from ddspec.dsl.record.statistics import TEST_LEVEL, Welch, holm, welch
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis, SweptRun
from ddspec.dsl.spec.declare import NAME
from ddspec.reports.embed import json_for_script
from ddspec.reports.figures.chart import Chart, Column, LegendEntry, write_numbers
from ddspec.reports.figures.strip_chart import Strip, shorten_label, strip_chart
from ddspec.reports.figures.svg import ACCENT, MARKERS, QUIET, SIDE_BY_SIDE, draw
from ddspec.reports.files import SWEEP_HINT, read_document, refuse_contradictions
from ddspec.reports.format import PLUS_MINUS, duration, fixed, plural, signed, significant
from ddspec.reports.pages.template import page_template
from ddspec.reports.tables.seeds import seed_row


def render_sweep(folder: Path) -> Path:
    """Write report.html and the numbers of its figures into a sweep's folder.

    Returns the path of the page. Raises RecordError if the sweep's record is missing or damaged.
    """
    record = read_sweep(folder)
    with refuse_contradictions(f"{folder.name}/{SWEEP_JSON}", SWEEP_HINT):
        charts = [*curves(record), every_run(record)]
        page = sweep_html(record, charts)
    write_numbers(charts, folder / FIGURES)
    return write_text(folder / REPORT_HTML, page)


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of a sweep's folder."""
    return read_document(folder, SWEEP_JSON, SweepRecord, SWEEP_HINT)


def sweep_html(record: SweepRecord, charts: Sequence[Chart]) -> str:
    """Return the page of a sweep."""
    return page_template("sweep.html").render(
        record=record,
        summary=summary(record),
        axes=[axis.name for axis in record.axes],
        experts_differ=len({run.expert for run in record.runs} - {None}) > 1,
        has_published=any(run.compared for run in record.runs),
        rows=rows_of(record),
        best=best_words(record),
        judged_by=judged_by(record),
        groups=[seed_row(group) for group in record.groups],
        other_axes=[axis.name for axis in record.axes if axis.name != SEED_AXIS],
        groups_published=any(group.compared for group in record.groups),
        charts=charts,
        spec_lines=record.spec.rstrip("\n").split("\n"),
        record_json=json_for_script(record.model_dump_json()),
    )


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
    accuracy: str
    std: str
    n: str
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
    cause: str


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


def best_words(record: SweepRecord) -> str:
    """Return which run has the best mean, and from which others it is not told apart."""
    evaluated = [(run, run.accuracy) for run in record.runs if run.accuracy is not None]
    if len(evaluated) < 2 or judged_by(record):
        return ""
    best, first = max(evaluated, key=lambda pair: pair[1].mean)
    others = [(run, accuracy) for run, accuracy in evaluated if run is not best]
    tests = [(run, welch(first, accuracy)) for run, accuracy in others]
    adjusted = iter(holm([test.p for _, test in tests if test is not None]))
    alike = [run.label for run, test in tests if test is None or next(adjusted) >= TEST_LEVEL]
    head = f"The best mean is that of {best.label}, {fixed(first.mean)} %"
    if not alike:
        return f"{head}, told apart from every other run."
    if len(alike) == len(others):
        return f"{head}, but it is told apart from no other run."
    return f"{head}; it is not told apart from {', '.join(alike)}."


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
        accuracy=fixed(accuracy.mean) if accuracy else "",
        std=fixed(accuracy.std) if accuracy and accuracy.n > 1 else "",
        n=str(accuracy.n) if accuracy else "",
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
        cause=run.cause or " ".join(sign.text for sign in run.warnings),
    )


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


def every_run(record: SweepRecord) -> Chart:
    """Return the strip chart of all runs, with a dot for every network."""
    return strip_chart(
        "every-run",
        "Test accuracy of every run",
        "The mean over fresh networks, and each network as a dot.",
        [
            Strip(run.label, run.accuracy, run.random_real)
            for run in record.runs
            if run.accuracy is not None
        ],
        reference="random real images",
        empty="No run was evaluated yet.",
    )


def curves(record: SweepRecord) -> list[Chart]:
    """Return a figure of accuracy over each numeric key.

    It has a line per choice of the other keys.
    """
    return [
        curve(record, number, axis)
        for number, axis in enumerate(record.axes)
        if len(axis.entries) > 1
        and axis.name != SEED_AXIS
        and all(number_at(run, axis) is not None for run in record.runs)
    ]


def number_at(run: SweptRun, axis: SweptAxis) -> float | None:
    """Return the number of a run on an axis; None if it is not a number."""
    value = run.settings.get(axis.name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def curve(record: SweepRecord, number: int, axis: SweptAxis) -> Chart:
    """Return the figure of accuracy over one key."""
    name, title = f"curve-{number}", f"Test accuracy over {axis.name}"
    caption = "Means over fresh networks, with their standard deviation; a line for each choice of "
    caption += "what else changed." if len(record.axes) > 1 else "the rest."
    lines: dict[tuple[str, ...], list[tuple[float, Accuracy]]] = {}
    for run in record.runs:
        value, others = number_at(run, axis), (*run.entries[:number], *run.entries[number + 1 :])
        if run.accuracy is not None and value is not None:
            lines.setdefault(others, []).append((value, run.accuracy))
    if not lines:
        return Chart(name, title, caption, empty="No run was evaluated yet.")
    points = [(others, *point) for others, whole in lines.items() for point in whole]
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(
            name,
            f"Line chart of {plural(len(lines), 'line')} over {axis.name}",
            lines_over(axis.name, lines),
        ),
        legend=curve_legend(list(lines)),
        columns=(
            Column(axis.name, [value for _, value, _ in points], lambda value: f"{value:g}"),
            Column("others", [", ".join(others) for others, _, _ in points]),
            Column("mean", [accuracy.mean for _, _, accuracy in points], fixed),
            Column("std", [accuracy.std for _, _, accuracy in points], fixed),
            Column("single networks", [accuracy.values for _, _, accuracy in points]),
        ),
        noun="runs",
    )


MOST_TICKS = 8


def curve_legend(lines: Sequence[tuple[str, ...]]) -> tuple[LegendEntry, ...]:
    """Return the legend of colours and marks, if there are few enough curves."""
    if len(lines) == 1 or len(lines) > len(SIDE_BY_SIDE):
        return (LegendEntry("line", "mean and standard deviation"),)
    return tuple(
        LegendEntry(f"beside beside-{number}", f"{', '.join(others)}: mean and standard deviation")
        for number, others in enumerate(lines)
    )


def lines_over(
    key: str, lines: Mapping[tuple[str, ...], Sequence[tuple[float, Accuracy]]]
) -> Callable[[Axes], None]:
    """Return the function that draws the lines; too many get names at their ends."""
    distinguishable = 1 < len(lines) <= len(SIDE_BY_SIDE)

    def plot(axes: Axes) -> None:
        for number, (others, points) in enumerate(lines.items()):
            ordered = sorted(points, key=lambda point: point[0])
            positions = [value for value, _ in ordered]
            means = [accuracy.mean for _, accuracy in ordered]
            spreads = [accuracy.std for _, accuracy in ordered]
            colour = SIDE_BY_SIDE[number] if distinguishable else ACCENT
            marker = MARKERS[number] if distinguishable else "o"
            axes.errorbar(positions, means, yerr=spreads, color=colour, marker=marker, capsize=3)
            if len(lines) > len(SIDE_BY_SIDE):
                axes.annotate(
                    shorten_label(", ".join(others)),
                    (positions[-1], means[-1]),
                    xytext=(5, 0),
                    color=QUIET,
                    textcoords="offset points",
                    fontsize=8,
                    va="center",
                )
        whole = {value for points in lines.values() for value, _ in points}
        if len(whole) <= MOST_TICKS:
            axes.set_xticks(sorted(whole), [f"{value:g}" for value in sorted(whole)])
        axes.set_xlabel(key)
        axes.set_ylabel("test accuracy (%)")

    return plot
