"""Strip charts: every single network as a dot, means beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.terms import Subject
from ddspec.reports.figures.chart import Chart, Column, LegendEntry
from ddspec.reports.figures.svg import ACCENT, QUIET, draw
from ddspec.reports.format import fixed, plural

MOST_STRIPS = 40
"""Most strips of a figure; the numbers beside it have all of them."""
MOST_LABEL_LETTERS = 30
"""Characters that fit beside a figure."""
LABEL_END_LETTERS = 12
"""How many of them show the end of a longer label."""
ROW_INCHES = 0.26
"""Inches from strip to strip."""


@dataclass(frozen=True)
class Strip:
    """One row: an accuracy, and the one that it is compared with."""

    label: str
    accuracy: Accuracy
    reference: Accuracy | None = None
    quiet: bool = False
    """Whether it is drawn as a reference."""


def strip_chart(
    name: str, title: str, caption: str, strips: Sequence[Strip], reference: str, empty: str
) -> Chart:
    """Return strips one below the other; `reference` names their ticks, empty without any."""
    drawn = strips[:MOST_STRIPS]
    if not drawn:
        return Chart(name, title, caption, empty=empty)

    def plot(axes: Axes) -> None:
        for row, strip in enumerate(drawn):
            values, colour = strip.accuracy.values, QUIET if strip.quiet else ACCENT
            axes.plot(values, [row] * len(values), "o", color=colour, markersize=3, alpha=0.45)
            axes.plot([strip.accuracy.mean], [row], "o", color=colour, markersize=6)
            if strip.reference is not None:
                axes.plot([strip.reference.mean], [row], "|", color=QUIET, markersize=10)
        axes.set_yticks(range(len(drawn)), [shorten_label(strip.label) for strip in drawn])
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.set_xlabel("test accuracy (%)")

    best = max(strips, key=lambda strip: strip.accuracy.mean)
    left = len(strips) - len(drawn)
    marks = [LegendEntry("dot", "mean, and every network as a small dot")]
    marks += [LegendEntry("dot quietly", "baseline")] if any(strip.quiet for strip in drawn) else []
    marks += [LegendEntry("tick", reference)] if any(strip.reference for strip in drawn) else []
    return Chart(
        name=name,
        title=title,
        caption=caption + (f" Drawn are the first {len(drawn)} of {len(strips)}." if left else ""),
        drawing=draw(
            name,
            f"Dot chart of {plural(len(drawn), 'accuracy', 'accuracies')}; the highest mean is "
            f"{fixed(best.accuracy.mean, 1)} %, of {best.label}",
            plot,
            (4.8, 0.7 + ROW_INCHES * len(drawn)),
        ),
        legend=tuple(marks),
        columns=(
            Column("of", [strip.label for strip in strips]),
            Column("mean", [strip.accuracy.mean for strip in strips], fixed),
            Column("std", [s.accuracy.std if s.accuracy.n > 1 else None for s in strips], fixed),
            Column("single networks", [strip.accuracy.values for strip in strips]),
        ),
        noun="accuracies",
    )


def shorten_label(label: str) -> str:
    """Return a label, or its beginning and its end if it does not fit beside a figure."""
    return (
        label
        if len(label) <= MOST_LABEL_LETTERS
        else f"{label[: MOST_LABEL_LETTERS - LABEL_END_LETTERS - 1]}…{label[-LABEL_END_LETTERS:]}"
    )


SHORT_SUBJECT_WORDS: dict[Subject, str] = {
    "distilled": "distilled",
    "random_real": "random real",
    "random_real_expert_labels": "random, soft labels",
    "full_data": "all real images",
}
"""What networks were trained on, short enough to stand beside an axis."""


def networks_chart(record: Record) -> Chart:
    """Return the accuracy of every network (AST, Table IV), with its baselines."""
    results, strips = record.results, []
    for network, accuracy in results.per_network.items():
        strips.append(Strip(network, accuracy))
        for subject, baselines in results.baselines.items():
            if network in baselines:
                label = f"{network}: {SHORT_SUBJECT_WORDS[subject]}"
                strips.append(Strip(label, baselines[network], quiet=True))
    return strip_chart(
        "networks",
        "Test accuracy per network",
        "Every fresh network trained on the chosen synthetic set, and on the baselines.",
        strips,
        reference="",
        empty="No synthetic set was evaluated.",
    )
