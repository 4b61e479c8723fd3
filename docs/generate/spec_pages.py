"""Reference page of the shipped specs, with what was published and what was measured."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from ddspec.reports.format import NO_BREAK, PLUS_MINUS
from ddspec.reports.pages.published import rows_of
from ddspec.reports.tables.published import PublishedRow, departure_text
from ddspec.shipped import Shipped, published_accuracy, shipped, sort_key
from docs.generate.markdown import code, link, page, plain, table
from docs.generate.prose import prose

ROOT = Path(__file__).parents[2]
REPRODUCTIONS = "reproductions"
FROM_PAGE = "../.."
"""Path from the folder of the generated pages to the root of the repository."""

SPREAD = f"{NO_BREAK}{PLUS_MINUS}{NO_BREAK}"

INTRODUCTION = """\
`ddspec new NAME` copies one of these specs. The header of each states the source of its settings,
its published accuracy and its cost. Accuracies are percentages of test images, mean and standard
deviation over networks. The published one is the first that the spec states under [[expect]]."""

MEASURED = """\
A measured accuracy links to the page of its run. An asterisk marks a run whose settings depart from
the published ones, often by far fewer iterations; the departures are listed below."""


def specs_page() -> str:
    """Return the page of all shipped specs, by dataset and images per class."""
    measured = measured_rows()
    specs = sorted(shipped().values(), key=sort_key)
    groups = groupby(specs, key=lambda spec: str(spec.values["dataset"]["name"]))
    tables = [part for dataset, members in groups for part in section(dataset, members, measured)]
    departures = [departures_of(row) for rows in measured.values() for row in rows]
    return page(
        "# Shipped specs",
        prose(INTRODUCTION),
        prose(MEASURED),
        *tables,
        "## Departures of the measured runs",
        "\n".join(filter(None, dict.fromkeys(departures))),
    )


def section(
    dataset: str, specs: Iterator[Shipped], measured: dict[str, list[PublishedRow]]
) -> Iterator[str]:
    """Yield the heading and the table of one dataset."""
    yield f"## {code(dataset)}"
    rows = [
        (
            link(code(spec.name), f"{FROM_PAGE}/specs/{spec.name}.toml"),
            str(spec.values["synthetic"]["ipc"]),
            plain(method_of(spec)),
            published_accuracy(spec.values.get("expect", [])).strip("-").replace(" +- ", SPREAD),
            "; ".join(map(measured_cell, measured.get(str(spec.values["name"]), []))),
        )
        for spec in specs
    ]
    yield table(["spec", "ipc", "method", "published", "measured"], rows)


def method_of(spec: Shipped) -> str:
    """Return the method by the title of a spec, such as "AST on CIFAR-10, 1 image per class"."""
    title = str(spec.values.get("title", ""))
    method, _, _ = title.rpartition(" on ")
    return method or title


def measured_rows() -> dict[str, list[PublishedRow]]:
    """Return the published numbers that were measured, by the name of their experiment."""
    rows: dict[str, list[PublishedRow]] = {}
    for row in rows_of(ROOT / REPRODUCTIONS):
        rows.setdefault(row.name, []).append(row)
    return rows


def measured_cell(row: PublishedRow) -> str:
    """Return what was measured, linked to the page of the run."""
    accuracy = row.compared.measured
    spread = f"{SPREAD}{accuracy.std:.1f}" if accuracy.n > 1 else ""
    text = f"{accuracy.mean:.1f}{spread}{plain(' *') if row.departures else ''}"
    return link(text, f"{FROM_PAGE}/{REPRODUCTIONS}/{row.folders[0]}/report.html")


def departures_of(row: PublishedRow) -> str:
    """Return the departures of a run as an item of a list; empty if it has none."""
    if not row.departures:
        return ""
    return f"- {plain(row.title)}: {prose('; '.join(map(departure_text, row.departures)))}"
