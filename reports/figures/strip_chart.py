"""Strip charts: a row per mean, with each single network as a small dot."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.terms import Subject
from ddspec.reports.figures.chart import Chart, Column, LegendEntry
from ddspec.reports.figures.svg import ACCENT, QUIET, draw
from ddspec.reports.format import fixed, plural
from ddspec.reports.tables.summary import initial_accuracy

MOST_STRIPS = 40
"""Most strips in a drawing; the figure's numbers cover all of them."""
MOST_LABEL_LETTERS = 30
"""Characters of a label that fit on a line beside the axes."""
LABEL_END_LETTERS = 12
"""Characters kept from the end of a longer label."""
STRIP_INCHES = 0.26
"""Distance between strips, in inches."""
TALL_STRIP_INCHES = 0.38
"""Distance between strips if a label takes two lines."""


@dataclass(frozen=True)
class Strip:
    """One row of the chart: an accuracy, and the accuracy that it is compared with."""

    label: str
    accuracy: Accuracy
    reference: Accuracy | None = None
    quiet: bool = False
    """Whether the row is drawn in grey, as baselines are."""


def strip_chart(
    name: str, title: str, caption: str, strips: Sequence[Strip], reference: str, empty: str
) -> Chart:
    """Return a chart of the strips, the first one on top.

    `reference` is the legend of the ticks that mark reference accuracies; `empty` is
    the sentence shown if there are no strips.
    """
    drawn = strips[:MOST_STRIPS]
    if not drawn:
        return Chart(name, title, caption, empty=empty)

    labels = [label_lines(strip.label) for strip in drawn]
    is_tall = any("\n" in label for label in labels)

    def plot(axes: Axes) -> None:
        for row, strip in enumerate(drawn):
            values, colour = strip.accuracy.values, QUIET if strip.quiet else ACCENT
            axes.plot(values, [row] * len(values), "o", color=colour, markersize=3, alpha=0.45)
            axes.plot([strip.accuracy.mean], [row], "o", color=colour, markersize=6)
            if strip.reference is not None:
                axes.plot([strip.reference.mean], [row], "|", color=QUIET, markersize=10)
        axes.set_yticks(range(len(drawn)), labels)
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.set_xlabel("test accuracy (%)")

    if len(drawn) < len(strips):
        caption += f" The chart shows the first {len(drawn)} of {len(strips)}."
    best = max(strips, key=lambda strip: strip.accuracy.mean)
    legend = [LegendEntry("dot", "mean (large dot) of single networks (small dots)")]
    if any(strip.quiet for strip in drawn):
        legend.append(LegendEntry("dot quietly", "initial set or baseline"))
    if any(strip.reference for strip in drawn):
        legend.append(LegendEntry("tick", reference))
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(
            name,
            f"Dot chart of {plural(len(drawn), 'accuracy', 'accuracies')}; the highest mean is "
            f"{fixed(best.accuracy.mean, 1)} %, of {best.label}",
            plot,
            (4.8, 0.7 + (TALL_STRIP_INCHES if is_tall else STRIP_INCHES) * len(drawn)),
        ),
        legend=tuple(legend),
        columns=(
            Column("name", [strip.label for strip in strips]),
            Column("mean", [strip.accuracy.mean for strip in strips], fixed),
            Column("std", [s.accuracy.std if s.accuracy.n > 1 else None for s in strips], fixed),
            Column("single networks", [strip.accuracy.values for strip in strips]),
        ),
        noun="accuracies",
    )


def label_lines(label: str) -> str:
    """Return a label on at most two lines that fit beside the axes."""
    if len(label) <= MOST_LABEL_LETTERS:
        return label
    first = textwrap.wrap(label, MOST_LABEL_LETTERS)[0]
    # What wrapping splits may be one word, so the rest is not put together from its pieces.
    rest = label[len(first) :].strip()
    return f"{first}\n{shorten_label(rest)}" if rest else first


def shorten_label(label: str) -> str:
    """Return a label, or its start and its end if it does not fit beside the axes."""
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
    "distilled_hard_labels": "distilled, hard labels",
    "distilled_plain": "distilled, no augmentation",
    "random_real_plain": "random, no augmentation",
}
"""Training data of the networks, short enough to fit beside the axes."""


def networks_chart(record: Record) -> Chart:
    """Return the accuracies on every network, with their baselines (AST, Table IV)."""
    results, strips = record.results, []
    for network, accuracy in results.per_network.items():
        strips.append(Strip(network, accuracy))
        initial = initial_accuracy(record, accuracy)
        if initial is not None:
            strips.append(Strip(f"{network}: its initial set", initial, quiet=True))
        for subject, baselines in results.baselines.items():
            if network in baselines:
                label = f"{network}: {SHORT_SUBJECT_WORDS[subject]}"
                strips.append(Strip(label, baselines[network], quiet=True))
    return strip_chart(
        "networks",
        "Test accuracy per network",
        "Every fresh network trained on the chosen synthetic set, on the set before distillation, "
        "or on a baseline.",
        strips,
        reference="",
        empty="No synthetic set was evaluated.",
    )
