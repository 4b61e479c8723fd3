"""Drawing: matplotlib figures as SVG that takes its colours from the page.

Lines are drawn in sentinel colours that no figure uses for itself; in the SVG each sentinel
becomes a CSS variable, so that one drawing follows light, dark and print.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "--ink", QUIET: "--quiet", LINE: "--line", ACCENT: "--accent"}

MOST_POINTS = 1000
"""Points of a drawn line; more cannot be told apart at the width of a page."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "patch.edgecolor": ACCENT,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def draw(name: str, label: str, plot: Callable[[Axes], None]) -> Markup:
    """The SVG of what `plot` draws; `label` says it to those who cannot see it.

    `name` salts the identifiers inside, which must differ between the figures of a page.
    """
    with matplotlib.rc_context():
        # A matplotlibrc of the machine must not change the bytes of a report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(4.8, 2.9), layout="constrained")
        plot(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return for_page(text.getvalue(), label)


def for_page(text: str, label: str) -> Markup:
    """The drawing alone: no XML prolog, metadata or style that would reach the whole page."""
    viewbox = re.search(r'viewBox="[^"]*"', text)
    assert viewbox is not None
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    for sentinel, variable in VARIABLES.items():
        body = body.replace(sentinel, f"var({variable})")
    referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in referenced else "", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    opening = f'<svg class="chart" role="img" aria-label="{escape(label)}" {viewbox[0]}>'
    # The drawing holds numbers and words of ours only; what users write stands beside it.
    return Markup(opening + body)


def downsample(
    xs: Sequence[float], ys: Sequence[float], most: int = MOST_POINTS
) -> tuple[list[float], list[float]]:
    """At most `most` points, with the first, the last, and minimum and maximum of each stretch.

    Averages or every k-th point would hide the peaks, which are what one looks for.
    """
    count = len(ys)
    if count <= most:
        return list(xs), list(ys)
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for stretch in range(stretches):
        inside = range(count * stretch // stretches, count * (stretch + 1) // stretches)
        kept.add(min(inside, key=ys.__getitem__))
        kept.add(max(inside, key=ys.__getitem__))
    return [xs[i] for i in sorted(kept)], [ys[i] for i in sorted(kept)]


def spans_decades(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis serves better: all above zero, a factor of 100 between them."""
    return bool(values) and min(values) > 0 and max(values) >= 100 * min(values)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` indices of `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
