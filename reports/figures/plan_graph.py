"""The plan as a picture: steps as boxes, dependencies as lines, reused steps dashed."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Record, StepRecord
from ddspec.reports.figures.chart import Chart, Column, LegendEntry
from ddspec.reports.figures.svg import ACCENT, INK, PAPER, QUIET, draw
from ddspec.reports.format import duration, plural

BOX_WIDTH, HIGH = 0.84, 0.74
"""Width and height of a box; columns and rows lie 1 apart."""
COLUMN_INCHES, ROW = 1.85, 0.8
"""Inches between columns and between rows."""
MOST_LETTERS = 20
"""Most characters of a line in a box."""


def plan_chart(record: Record) -> Chart:
    """Return the figure of every step with its state and its time."""
    name, title = "plan", "The plan of this run"
    caption = (
        "Steps and what they need, from left to right, with the time that each took in this run."
    )
    steps = {step.id: step for step in record.steps}
    if any(step.id not in steps for step in record.plan.steps):
        return Chart(name, title, caption)
    needs = needs_by_step(record.plan)
    columns = columns_by_depth(needs)
    rows = max(map(len, columns))
    places = {
        id: (float(x), (len(column) - 1) / 2 - y)
        for x, column in enumerate(columns)
        for y, id in enumerate(column)
    }

    def plot(axes: Axes) -> None:
        for id, others in needs.items():
            for other in direct_needs(needs, others):
                (x, y), (x_other, y_other) = places[id], places[other]
                ends = [x_other + BOX_WIDTH / 2, x - BOX_WIDTH / 2]
                axes.plot(ends, [y_other, y], color=QUIET, linewidth=0.8, zorder=1)
        for id, position in places.items():
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
        drawing=draw(name, label, plot, (COLUMN_INCHES * len(columns), ROW * rows)),
        legend=(
            LegendEntry("box", "computed in this run"),
            LegendEntry("box reused", "found in the store, all or in part"),
            LegendEntry("box missing", "not done"),
        ),
        columns=(
            Column("step", [step.id for step in record.steps]),
            Column("state", [step.status for step in record.steps]),
            Column("seconds", [step.seconds for step in record.steps]),
            Column("needs", [" ".join(needs[step.id]) for step in record.steps]),
        ),
        noun="steps",
    )


def draw_step(axes: Axes, position: tuple[float, float], step: StepRecord) -> None:
    """Draw one step: filled if computed, dashed if found in the store, bare if not done."""
    x, y = position
    reused = step.status in ("reused", "partly reused")
    done = reused or step.status == "computed"
    corner = (x - BOX_WIDTH / 2, y - HIGH / 2)
    edge, line = ACCENT if done else QUIET, (0, (4, 2)) if reused else "-"
    axes.add_patch(
        Rectangle(
            corner, BOX_WIDTH, HIGH, facecolor=PAPER, zorder=2, edgecolor=edge, linestyle=line
        )
    )
    if step.status == "computed":
        axes.add_patch(Rectangle(corner, BOX_WIDTH, HIGH, facecolor=ACCENT, alpha=0.16, zorder=3))
    lines = textwrap.wrap(step.id, MOST_LETTERS)
    state = step.status if step.status != "computed" else duration(step.seconds)
    words: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "zorder": 4,
        "fontsize": 8,
        "linespacing": 1.15,
    }
    axes.text(x, y + 0.13, "\n".join(lines), color=INK, **words)
    axes.text(x, y - HIGH / 2 + 0.16, state, color=QUIET if not done else INK, **words)


def needs_by_step(plan: Plan) -> dict[str, list[str]]:
    """Return the steps whose results each step reads."""
    ids = {step.digest: step.id for step in plan.steps}
    needs = {}
    for step in plan.steps:
        # Experts that only convexified trajectories need are trained within their step.
        within = {digest(plan.trajectories.recipe.preimage): plan.trajectories.id} | ids
        named = [within.get(name, "") for name in step.preimage.get("needs", {}).values()]
        needs[step.id] = ["dataset" if id == step.id else id for id in named if id]
    return needs


def columns_by_depth(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the steps by how many others must run before them, one after the other."""
    depth: dict[str, int] = {}
    for id, others in needs.items():
        depth[id] = 1 + max((depth[other] for other in others), default=-1)
    return [[id for id in needs if depth[id] == at] for at in range(max(depth.values()) + 1)]


def direct_needs(needs: Mapping[str, Sequence[str]], others: Sequence[str]) -> list[str]:
    """Return those of the needed steps that no other of them needs."""

    def behind(id: str) -> set[str]:
        return {far for near in needs[id] for far in (near, *behind(near))}

    return [
        candidate for candidate in others if not any(candidate in behind(other) for other in others)
    ]
