"""The plan as a graph of its steps, with dashed boxes for the reused ones."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ddspec.dsl.record.record import Record, StepRecord
from ddspec.reports.figures.chart import Chart, Column, LegendEntry
from ddspec.reports.figures.svg import ACCENT, INK, PAPER, QUIET, draw
from ddspec.reports.format import duration, plural

BOX_WIDTH, BOX_HEIGHT = 0.84, 0.74
"""Width and height of a box; neighbouring columns and rows are 1 apart."""
COLUMN_INCHES, ROW_INCHES = 1.85, 0.8
"""Distance between columns and between rows, in inches."""
MOST_LETTERS = 20
"""Most characters of a line of text in a box."""


def plan_chart(record: Record) -> Chart:
    """Return the graph of the plan, each step with its status and its time."""
    name, title = "plan", "The plan of this run"
    caption = (
        "The steps of the plan from left to right, with the time that each step took in this run. "
        "Lines lead to each step from the steps that it needs."
    )
    steps = {step.id: step for step in record.steps}
    if any(step.id not in steps for step in record.plan.steps):
        return Chart(name, title, caption)
    needs = {step.id: list(step.needs) for step in record.plan.steps}
    columns = columns_by_depth(needs)
    rows = max(map(len, columns))
    positions = {
        id: (float(x), (len(column) - 1) / 2 - row)
        for x, column in enumerate(columns)
        for row, id in enumerate(column)
    }

    def plot(axes: Axes) -> None:
        for id, needed in needs.items():
            for needed_id in direct_needs(needs, needed):
                (x, y), (needed_x, needed_y) = positions[id], positions[needed_id]
                edges = [needed_x + BOX_WIDTH / 2, x - BOX_WIDTH / 2]
                axes.plot(edges, [needed_y, y], color=QUIET, linewidth=0.8, zorder=1)
        for id, position in positions.items():
            draw_step(axes, position, steps[id])
        axes.set_xlim(-BOX_WIDTH / 2 - 0.02, len(columns) - 1 + BOX_WIDTH / 2 + 0.02)
        axes.set_ylim(-rows / 2, rows / 2)
        axes.set_axis_off()

    reused = [step.id for step in record.steps if step.status in ("reused", "partly reused")]
    label = f"Graph of {plural(len(steps), 'step')}; " + (
        f"found in the store: {', '.join(reused)}" if reused else "none was found in the store"
    )
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot, (COLUMN_INCHES * len(columns), ROW_INCHES * rows)),
        legend=(
            LegendEntry("box", "computed in this run"),
            LegendEntry("box reused", "found in the store, in whole or in part"),
            LegendEntry("box missing", "not done"),
        ),
        columns=(
            Column("step", [step.id for step in record.steps]),
            Column("status", [step.status for step in record.steps]),
            Column("seconds", [step.seconds for step in record.steps]),
            Column("needs", [" ".join(needs[step.id]) for step in record.steps]),
        ),
        noun="steps",
    )


def draw_step(axes: Axes, position: tuple[float, float], step: StepRecord) -> None:
    """Draw the box of one step.

    It is filled if the step was computed, dashed if its result was found in the store,
    and grey if it was not done.
    """
    x, y = position
    reused = step.status in ("reused", "partly reused")
    done = reused or step.status == "computed"
    corner = (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2)
    edge, line = ACCENT if done else QUIET, (0, (4, 2)) if reused else "-"
    axes.add_patch(
        Rectangle(
            corner, BOX_WIDTH, BOX_HEIGHT, facecolor=PAPER, zorder=2, edgecolor=edge, linestyle=line
        )
    )
    if step.status == "computed":
        axes.add_patch(
            Rectangle(corner, BOX_WIDTH, BOX_HEIGHT, facecolor=ACCENT, alpha=0.16, zorder=3)
        )
    title_lines = textwrap.wrap(step.id, MOST_LETTERS)
    result = duration(step.seconds) if step.status == "computed" else step.status
    text_style: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "zorder": 4,
        "fontsize": 8,
        "linespacing": 1.15,
    }
    axes.text(x, y + 0.13, "\n".join(title_lines), color=INK, **text_style)
    axes.text(x, y - BOX_HEIGHT / 2 + 0.16, result, color=INK if done else QUIET, **text_style)


def columns_by_depth(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the step ids in columns, each step to the right of all that it needs."""
    depth: dict[str, int] = {}
    for id, needed in needs.items():
        depth[id] = 1 + max((depth[needed_id] for needed_id in needed), default=-1)
    return [[id for id in needs if depth[id] == x] for x in range(max(depth.values()) + 1)]


def direct_needs(needs: Mapping[str, Sequence[str]], needed: Sequence[str]) -> list[str]:
    """Return the needed steps without those that another needed step needs itself."""

    def ancestors(id: str) -> set[str]:
        return {step for parent in needs[id] for step in (parent, *ancestors(parent))}

    return [id for id in needed if not any(id in ancestors(other) for other in needed)]
