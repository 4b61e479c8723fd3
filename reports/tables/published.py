"""Published numbers beside the numbers measured here: one row per published cell.

Runs of one spec that differ in their seed alone are one row: the networks of all their sets
together. Every verdict is that of the test in `statistics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ddspec.dsl.parsing.departures import BESIDE_THE_EXPERIMENT
from ddspec.dsl.record.deviations import Departure
from ddspec.dsl.record.record import Compared, Record
from ddspec.dsl.record.results import (
    compare_with_published,
    mean_and_deviation,
    welch_with_published,
)
from ddspec.dsl.record.seed_groups import means_of, pooled_accuracy
from ddspec.reports.format import PLUS_MINUS, fixed, ipc_words, mean_and_std, signed
from ddspec.reports.tables.leaderboard import markdown_text
from ddspec.reports.tables.results import expectation_row
from ddspec.reports.tables.summary import dataset_name


@dataclass(frozen=True)
class PublishedRow:
    """A published number and the runs that measured it."""

    name: str
    """Name of the spec."""
    title: str
    dataset: str
    ipc: int
    ipc_text: str
    """Images per class, with the parts of each if they are partitioned."""
    protocol: str
    compared: Compared
    set_means: tuple[float, ...]
    """Mean accuracy of each synthetic set."""
    departures: tuple[Departure, ...]
    machines: tuple[str, ...]
    """Devices that the runs used."""
    hours: float
    """Work of all runs together, with that of artifacts that they reused."""
    folders: tuple[str, ...]


def published_rows(folders: Sequence[str], records: Sequence[Record]) -> list[PublishedRow]:
    """Return a row per published number of the runs, by dataset, images per class and title.

    A run without published numbers, and a preview, has no row.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, record in enumerate(records):
        if record.compared and not record.plan.preview:
            groups.setdefault(settings_without_seed(record), []).append(number)
    rows = [
        published_row(index, [folders[i] for i in members], [records[i] for i in members])
        for members in groups.values()
        for index in range(len(records[members[0]].compared))
    ]
    rows.sort(key=lambda row: (row.dataset, row.ipc, row.title, row.folders))
    return rows


def settings_without_seed(record: Record) -> tuple[str, ...]:
    """Return every line of a resolved spec but that of its seed."""
    head, bracket, tables = record.resolved.partition("\n[")
    lines = [line for line in head.splitlines() if not line.startswith("seed = ")]
    return (*lines, bracket + tables)


def published_row(index: int, folders: Sequence[str], records: Sequence[Record]) -> PublishedRow:
    """Return the row of one expectation, measured by runs that differ in their seed alone."""
    first = records[0]
    measured = [record.compared[index].measured for record in records]
    compared = first.compared[index]
    if len(records) > 1:
        pooled = pooled_accuracy(measured)
        compared = compare_with_published(compared.expectation, pooled, means_of(measured))
    # Records of older versions name keys that are no departures.
    left_out = {*BESIDE_THE_EXPERIMENT, *(["seed"] if len(records) > 1 else [])}
    seconds = [step.seconds_when_made for record in records for step in record.steps]
    return PublishedRow(
        name=first.name,
        title=first.title or first.name,
        dataset=dataset_name(first),
        ipc=first.plan.distill.synthetic.ipc,
        ipc_text=ipc_words(first),
        protocol=first.plan.evaluations("distilled")[0].evaluation.protocol,
        compared=compared,
        set_means=means_of(measured),
        departures=tuple(d for d in first.departures if d.key not in left_out),
        machines=tuple(dict.fromkeys(record.environment.device for record in records)),
        hours=sum(seconds) / 3600,
        folders=tuple(folders),
    )


HEADS = (
    *("experiment", "dataset", "ipc", "protocol", "network", "published", "measured", "sets"),
    *("difference", "verdict", "departures", "machine", "hours"),
)


def published_markdown(rows: Sequence[PublishedRow]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [HEADS, ("---",) * len(HEADS), *(row_texts(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


SHORT_HEADS = ("experiment", "published", "measured", "test", "settings that differ")


def short_markdown(rows: Sequence[PublishedRow], where: str) -> str:
    """Return the rows as a table of Markdown with the most important columns.

    `where` is the path to the runs from the file that shows the table.
    """
    lines = [SHORT_HEADS, ("---",) * len(SHORT_HEADS)]
    for row in rows:
        comparison = expectation_row(row.compared)
        departures = ", ".join(f"{d.key} = {d.value}" for d in row.departures)
        cells = (comparison.published, comparison.measured, comparison.verdict, departures)
        page = f"[{markdown_text(row.title)}]({where}/{row.folders[0]}/report.html)"
        lines.append((page, *(markdown_text(cell or "none") for cell in cells)))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def row_texts(row: PublishedRow) -> tuple[str, ...]:
    """Return a row as the cells of a table of Markdown."""
    comparison = expectation_row(row.compared)
    cells = (
        row.title,
        row.dataset,
        row.ipc_text,
        row.protocol,
        comparison.network,
        f"{comparison.published}, {comparison.choice}; {comparison.source}",
        comparison.measured,
        sets_text(row.set_means),
        difference_text(row.compared, row.set_means),
        comparison.verdict,
        "; ".join(map(departure_text, row.departures)) or "none",
        ", ".join(row.machines),
        f"{row.hours:.1f}",
    )
    title, *others = map(markdown_text, cells)
    return (f"[{title}]({row.folders[0]}/report.html)", *others)


def difference_text(compared: Compared, set_means: Sequence[float]) -> str:
    """Return the difference to the published number, with its interval if a test decided."""
    test = welch_with_published(compared.expectation, compared.measured, set_means)
    if test is None or compared.verdict == "not decidable":
        return signed(compared.difference)
    return f"{signed(test.difference)} {PLUS_MINUS} {fixed(test.half)}"


def sets_text(means: Sequence[float]) -> str:
    """Return the number of synthetic sets, with mean and spread of their means."""
    if len(means) == 1:
        return "1"
    mean, std = mean_and_deviation(means)
    return f"{len(means)} ({mean_and_std(mean, std, len(means))})"


def departure_text(departure: Departure) -> str:
    """Return a departure in a few words."""
    return f"{departure.key} = {departure.value} (spec: {departure.in_spec})"


def measured_sentence(row: PublishedRow) -> str:
    """Return what was measured, in the words of the header of a spec."""
    measured = row.compared.measured
    spread = f" +- {measured.std:.1f}" if measured.n > 1 else ""
    sets = f"{len(row.set_means)} sets, " if len(row.set_means) > 1 else ""
    changed = ", ".join(f"{departure.key} = {departure.value}" for departure in row.departures)
    network = row.compared.expectation.network
    return (
        f"{measured.mean:.1f}{spread} % on {network} ({sets}n = {measured.n})"
        f"{f' with {changed}' if changed else ''}"
    )
