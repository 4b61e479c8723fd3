"""The page of a sweep: what changed from run to run, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from pydantic import ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record import Accuracy
from ddspec.dsl.sweep_record import SWEEP_JSON, SweepRecord, SweptAxis, SweptRun
from ddspec.reports.embed import first_fault, json_for_script
from ddspec.reports.figures import Chart, Mark
from ddspec.reports.render import PAGE, page_template, write_whole
from ddspec.reports.svg import ACCENT, QUIET, draw
from ddspec.reports.units import duration, fixed, listed, plural, signed

AGAIN = "`ddspec run` with the same sweep writes the folder anew and reuses every artifact"
MOST_DRAWN = 40
"""Runs of one figure; the table has them all."""


def render_sweep(folder: Path) -> Path:
    """Write report.html into a sweep's folder; returns its path.

    Raises RecordError where the sweep's record is missing or damaged.
    """
    return write_whole(folder / PAGE, render(read_sweep(folder)))


def read_sweep(folder: Path) -> SweepRecord:
    """The record of a sweep's folder."""
    named = f"{folder.name}/{SWEEP_JSON}"
    try:
        text = (folder / SWEEP_JSON).read_bytes()
    except OSError as error:
        problem = f"{named} cannot be read: {error.strerror}"
        raise RecordError(problem, hint=AGAIN) from None
    try:
        return SweepRecord.model_validate_json(text)
    except ValidationError as error:
        problem = f"{named} is damaged or of another format: {first_fault(error)}"
        raise RecordError(problem, hint=AGAIN) from None


def render(record: SweepRecord) -> str:
    """The page of a sweep."""
    return page_template("sweep.html").render(
        record=record,
        summary=summary(record),
        axes=[axis.name for axis in record.axes],
        rows=[row_of(record, run) for run in record.runs],
        charts=[*curves(record), every_run(record)],
        spec_lines=record.spec.rstrip("\n").split("\n"),
        record_json=json_for_script(record.model_dump_json()),
    )


def summary(record: SweepRecord) -> str:
    """How far it is, in a sentence."""
    counts: dict[str, int] = {}
    for run in record.runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    total = duration(sum(run.seconds for run in record.runs))
    return f"{plural(len(record.runs), 'run')}: {said}; {total} in all"


@dataclass(frozen=True)
class SweepRow:
    """One run in the table."""

    entries: tuple[str, ...]
    status: str
    accuracy: str
    std: str
    n: str
    gain: str
    """Against the run that it is held against, in points."""
    against: str
    random_real: str
    seconds: str
    folder: str
    cause: str


def row_of(record: SweepRecord, run: SweptRun) -> SweepRow:
    """Accuracy, gain and cost of one run."""
    other = held_against(record, run)
    gain = ""
    if other is not None and run.accuracy is not None and other.accuracy is not None:
        gain = signed(run.accuracy.mean - other.accuracy.mean)
    accuracy = run.accuracy
    return SweepRow(
        entries=run.entries,
        status=run.status,
        accuracy=fixed(accuracy.mean) if accuracy else "",
        std=fixed(accuracy.std) if accuracy and accuracy.n > 1 else "",
        n=str(accuracy.n) if accuracy else "",
        gain=gain,
        against=other.label if other is not None and gain else "",
        random_real=fixed(run.random_real.mean) if run.random_real else "",
        seconds=duration(run.seconds),
        folder=run.folder,
        cause=run.cause,
    )


def held_against(record: SweepRecord, run: SweptRun) -> SweptRun | None:
    """The run that differs from it by the case it goes on from; else the first of the sweep."""
    first = record.runs[0]
    if run.after is None:
        return None if run is first else first
    axis = next(number for number, one in enumerate(record.axes) if one.name == "case")
    wanted = (*run.entries[:axis], run.after, *run.entries[axis + 1 :])
    return next((other for other in record.runs if other.entries == wanted), None)


def every_run(record: SweepRecord) -> Chart:
    """Accuracy of every run, its networks as dots."""
    name, title = "every-run", "Test accuracy of every run"
    shows = "The mean over fresh networks, and each network as a dot; random real images as a tick."
    drawn = [run for run in record.runs if run.accuracy is not None][:MOST_DRAWN]
    if not drawn:
        return Chart(name, title, shows, empty="No run was evaluated yet.")

    def plot(axes: Axes) -> None:
        for place, run in enumerate(drawn):
            assert run.accuracy is not None
            values = run.accuracy.values
            axes.plot(values, [place] * len(values), "o", color=ACCENT, markersize=3, alpha=0.45)
            axes.plot([run.accuracy.mean], [place], "o", color=ACCENT, markersize=6)
            if run.random_real is not None:
                axes.plot([run.random_real.mean], [place], "|", color=QUIET, markersize=10)
        axes.set_yticks(range(len(drawn)), [shortened(run.label) for run in drawn])
        axes.invert_yaxis()
        axes.set_xlabel("test accuracy (%)")

    best = max(drawn, key=mean_of)
    return Chart(
        name=name,
        title=title,
        shows=shows,
        svg=draw(
            name,
            f"Dot chart of {plural(len(drawn), 'run')}; the highest mean is "
            f"{fixed(mean_of(best), 1)} %, of {best.label}",
            plot,
        ),
        legend=(Mark("dot", "mean and single networks"), Mark("band", "random real images")),
        columns=("run", "mean", "std", "single networks"),
        rows=tuple(chart_row(run.label, run.accuracy) for run in drawn if run.accuracy),
    )


def shortened(label: str) -> str:
    """As much of a label as fits beside a figure."""
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


LABEL, MOST_TICKS = 28, 8


def mean_of(run: SweptRun) -> float:
    """Mean accuracy of a run that was evaluated."""
    assert run.accuracy is not None
    return run.accuracy.mean


def chart_row(label: str, accuracy: Accuracy) -> tuple[str, ...]:
    """A run in the table beside a figure."""
    std = fixed(accuracy.std) if accuracy.n > 1 else ""
    return (label, fixed(accuracy.mean), std, listed(accuracy.values))


def curves(record: SweepRecord) -> list[Chart]:
    """Accuracy over every key that takes numbers, a line for each choice of the others."""
    return [
        curve(record, number, axis)
        for number, axis in enumerate(record.axes)
        if len(axis.entries) > 1 and all(number_at(run, axis) is not None for run in record.runs)
    ]


def number_at(run: SweptRun, axis: SweptAxis) -> float | None:
    """The number that a run has on an axis, where it is one."""
    value = run.settings.get(axis.name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def curve(record: SweepRecord, number: int, axis: SweptAxis) -> Chart:
    """Accuracy over one key."""
    name, title = f"curve-{number}", f"Test accuracy over {axis.name}"
    shows = "Means over fresh networks, with their standard deviation; a line for each choice of "
    shows += "what else changed." if len(record.axes) > 1 else "the rest."
    lines: dict[tuple[str, ...], list[tuple[float, Accuracy]]] = {}
    for run in record.runs:
        value, others = number_at(run, axis), (*run.entries[:number], *run.entries[number + 1 :])
        if run.accuracy is not None and value is not None:
            lines.setdefault(others, []).append((value, run.accuracy))
    if not lines:
        return Chart(name, title, shows, empty="No run was evaluated yet.")
    return Chart(
        name=name,
        title=title,
        shows=shows,
        svg=draw(
            name,
            f"Line chart of {plural(len(lines), 'line')} over {axis.name}",
            lines_over(axis.name, lines),
        ),
        legend=(Mark("line", "mean and standard deviation"),),
        columns=(axis.name, "others", "mean", "std", "single networks"),
        rows=tuple(
            (f"{value:g}", *chart_row(", ".join(others), accuracy))
            for others, points in lines.items()
            for value, accuracy in points
        ),
    )


def lines_over(
    key: str, lines: Mapping[tuple[str, ...], Sequence[tuple[float, Accuracy]]]
) -> Callable[[Axes], None]:
    """Draws every line with its name at its end."""

    def plot(axes: Axes) -> None:
        for others, points in lines.items():
            ordered = sorted(points, key=lambda point: point[0])
            places = [value for value, _ in ordered]
            means = [accuracy.mean for _, accuracy in ordered]
            spreads = [accuracy.std for _, accuracy in ordered]
            axes.errorbar(places, means, yerr=spreads, color=ACCENT, marker="o", capsize=3)
            if others:
                words = shortened(", ".join(others))
                axes.annotate(
                    words,
                    (places[-1], means[-1]),
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
