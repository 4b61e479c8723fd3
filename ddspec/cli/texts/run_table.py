"""Runs and sweeps of a folder as text or JSON, filtered and sorted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_never

from ddspec.cli.texts.columns import columns
from ddspec.dsl.record.record import Accuracy, RunStatus

if TYPE_CHECKING:
    from ddspec.reports.pages.run_list import IndexedSweep, RunRow

SortKey = Literal["date", "name", "dataset", "ipc", "accuracy", "outcome", "time"]

HEAD = ("run", "date", "outcome", "dataset", "ipc", "network", "accuracy", "changed")
NEVER_CUT = tuple(map(HEAD.index, ("date", "ipc", "accuracy")))
LEFT_OUT = tuple(map(HEAD.index, ("network", "date", "outcome", "changed", "dataset", "ipc")))
"""Columns that a narrow terminal has no room for, the first to go first."""


@dataclass(frozen=True)
class RunFilter:
    """Which runs are wanted; None where anything is."""

    name: str | None = None
    """Part of the name, the folder or the title, in any case of letters."""
    dataset: str | None = None
    ipc: int | None = None
    network: str | None = None
    outcome: RunStatus | None = None

    def keeps(self, row: "RunRow") -> bool:
        """Return whether a run is wanted."""
        return (
            self.is_named(row)
            and (self.dataset is None or row.dataset.partition(" ")[0] == self.dataset)
            and (self.ipc is None or row.ipc == self.ipc)
            and (self.network is None or self.network in row.networks)
            and (self.outcome is None or row.status == self.outcome)
        )

    def keeps_sweep(self, row: "IndexedSweep") -> bool:
        """Return whether a sweep is wanted: only its name can say so."""
        others = (self.dataset, self.ipc, self.network, self.outcome)
        return self.is_named(row) and all(wanted is None for wanted in others)

    def is_named(self, row: "RunRow | IndexedSweep") -> bool:
        """Return whether the wanted part is in a name of a row."""
        names = f"{row.folder}\n{row.name}\n{row.title}".casefold()
        return self.name is None or self.name.casefold() in names


def run_lines(
    runs: "Sequence[RunRow]", sweeps: "Sequence[IndexedSweep]", width: int | None
) -> list[str]:
    """Return a table of runs with the sweeps below them."""
    rows = [HEAD, *map(run_cells, runs), *map(sweep_cells, sweeps)]
    return columns(rows, width, NEVER_CUT, LEFT_OUT)


def run_cells(row: "RunRow") -> tuple[str, ...]:
    """Return a run as a row of the table."""
    return (
        row.folder,
        row.date[:10],
        f"{row.status} ({row.signs})" if row.signs else row.status,
        row.dataset,
        row.ipc_text,
        row.measured.network if row.measured else ", ".join(row.networks[:1]),
        row.measured.text.removesuffix(" %") if row.measured else "-",
        changed_text(row),
    )


def changed_text(row: "RunRow") -> str:
    """Return the seed, and what options or a sweep changed in the spec beside it."""
    changes = [change for change in row.changes if change.partition("=")[0].strip() != "seed"]
    return ", ".join([f"seed={row.seed}", *changes])


def sweep_cells(row: "IndexedSweep") -> tuple[str, ...]:
    """Return a sweep as a row of the table; its runs have rows of their own."""
    counted = row.summary.partition(";")[0]
    axes = ", ".join(row.axes)
    return (row.folder, row.date[:10], counted, "-", "-", "-", "-", f"sweep over {axes}")


def sorted_runs(runs: "Sequence[RunRow]", by: SortKey) -> "list[RunRow]":
    """Return runs by date or accuracy, the latest or highest first, or else in rising order."""
    match by:
        case "date":
            return sorted(runs, key=lambda row: row.date, reverse=True)
        case "accuracy":
            return sorted(runs, key=lambda row: row.measured.mean if row.measured else -1.0)[::-1]
        case "name":
            return sorted(runs, key=lambda row: row.folder)
        case "dataset":
            return sorted(runs, key=lambda row: (row.dataset, row.ipc))
        case "ipc":
            return sorted(runs, key=lambda row: row.ipc)
        case "outcome":
            return sorted(runs, key=lambda row: row.status)
        case "time":
            return sorted(runs, key=lambda row: row.seconds)
        case _:
            assert_never(by)


def runs_json(
    runs: "Sequence[RunRow]",
    sweeps: "Sequence[IndexedSweep]",
    unread: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Return the same rows as JSON, with what a table has no room for."""
    return {
        "runs": [run_json(row) for row in runs],
        "sweeps": [
            {
                "folder": row.folder,
                "name": row.name,
                "title": row.title,
                "date": row.date,
                "axes": list(row.axes),
                "summary": row.summary.replace("\N{NO-BREAK SPACE}", " "),
            }
            for row in sweeps
        ],
        "unread": [{"folder": folder, "reason": reason} for folder, reason in unread],
    }


def run_json(row: "RunRow") -> dict[str, Any]:
    """Return a run as JSON."""
    return {
        "folder": row.folder,
        "name": row.name,
        "digest": row.digest,
        "title": row.title,
        "date": row.date,
        "outcome": row.status,
        "signs": row.signs,
        "dataset": row.dataset,
        "ipc": row.ipc,
        "partition": row.partition,
        "networks": list(row.networks),
        "judged_by": row.judged_by,
        "accuracy": accuracy_json(row.measured),
        "gain_points": float(row.gain_points) if row.gain_points else None,
        "published": row.published,
        "seed": row.seed,
        "changes": list(row.changes),
        "seconds": row.seconds,
    }


def accuracy_json(accuracy: Accuracy | None) -> dict[str, Any] | None:
    """Return mean, standard deviation and number of networks as JSON."""
    if accuracy is None:
        return None
    return accuracy.model_dump(include={"mean", "std", "n", "network", "choose", "iteration"})
