"""The differences between two experiments as text or JSON."""

from typing import TYPE_CHECKING, Any

from ddspec.cli.texts.columns import columns
from ddspec.cli.texts.run_table import accuracy_json
from ddspec.dsl.parsing.departures import value_text
from ddspec.reports.format import plural

if TYPE_CHECKING:
    from ddspec.differences import AccuracyDifference, ExperimentDifferences
    from ddspec.dsl.record.record import Accuracy


def summary(found: "ExperimentDifferences") -> str:
    """Return the differences in one sentence."""
    count = len(found.settings)
    parts = [f"{plural(count, 'setting')} differ{'s' if count == 1 else ''}"]
    if not count:
        parts = ["no setting differs"]
    if found.first.record is not None and found.second.record is not None:
        parts.append(results_text(found))
    elif found.unplanned:
        parts.append("the plans cannot be compared")
    else:
        shared = sum(step.state == "shared" for step in found.steps)
        parts.append(f"{shared} of {plural(len(found.steps), 'step')} would be shared")
    return "; ".join(parts)


def results_text(found: "ExperimentDifferences") -> str:
    """Return in words whether the results of two runs differ, on the first common network."""
    both = [row for row in found.accuracies if row.first is not None and row.second is not None]
    if not both:
        return "they have no result on the same network"
    if found.judged_differently:
        return "the results are not judged alike"
    return result_text(both[0])


def result_text(row: "AccuracyDifference") -> str:
    """Return in words whether two accuracies differ."""
    assert row.first is not None and row.second is not None
    if row.first.values == row.second.values:
        return "the results are equal"
    if row.test is None:
        return "too few networks to tell the results apart"
    if not row.test.differs():
        return "the results are not told apart"
    better = "B" if row.test.difference > 0 else "A"
    points = f"{abs(row.test.difference):.2f} +- {row.test.half:.2f}"
    return f"{better} is better by {points} points on {row.network}"


def difference_lines(found: "ExperimentDifferences", width: int | None) -> list[str]:
    """Return the sentence, the two names, and the tables of settings, steps and results."""
    lines = [summary(found), f"A  {found.first.name}", f"B  {found.second.name}"]
    if found.settings:
        lines += ["", *(setting_line(d.key, d.first, d.second) for d in found.settings)]
    if found.unplanned:
        lines += ["", f"steps not compared: {found.unplanned}"]
    else:
        rows = [("step", "A", "B", "state", "because of")]
        rows += [
            (s.id, short(s.first), short(s.second), s.state, ", ".join(s.keys)) for s in found.steps
        ]
        lines += ["", *columns(rows, width, whole=(1, 2, 3))]
    if found.accuracies:
        head = ("network", "A", "B", "B - A", "p")
        results = [head, *map(accuracy_cells, found.accuracies)]
        lines += ["", *columns(results, width)]
    lines += [
        f"not judged alike: {name}: {before} -> {after}"
        for name, (before, after) in found.judged_differently
    ]
    return lines


def setting_line(key: str, first: Any, second: Any) -> str:
    """Return a key with both of its values."""
    before, after = ("not set" if v is None else value_text(v) for v in (first, second))
    return f"{key}: {before} -> {after}"


def short(digest: str | None) -> str:
    """Return the begin of a digest."""
    return "-" if digest is None else digest[:8]


def accuracy_cells(row: "AccuracyDifference") -> tuple[str, str, str, str, str]:
    """Return the results on a network, with their difference and its 95 % interval."""
    difference = p = "-"
    if row.first is not None and row.second is not None:
        difference = f"{row.second.mean - row.first.mean:+.2f}"
    if row.test is not None:
        difference += f" +- {row.test.half:.2f}"
        p = f"{row.test.p:.3g}"
    return row.network, accuracy_text(row.first), accuracy_text(row.second), difference, p


def accuracy_text(accuracy: "Accuracy | None") -> str:
    """Return mean and standard deviation of an accuracy in percent, without the unit."""
    return "-" if accuracy is None else accuracy.text.removesuffix(" %")


def differences_json(found: "ExperimentDifferences") -> dict[str, Any]:
    """Return the differences as JSON."""
    return {
        "summary": summary(found),
        "first": found.first.name,
        "second": found.second.name,
        "settings": [vars(setting) for setting in found.settings],
        "unplanned": found.unplanned,
        "steps": [{**vars(step), "keys": list(step.keys)} for step in found.steps],
        "accuracies": [
            {
                "network": row.network,
                "first": accuracy_json(row.first),
                "second": accuracy_json(row.second),
                "test": None if row.test is None else vars(row.test),
            }
            for row in found.accuracies
        ],
        "judged_differently": [
            {"condition": name, "first": before, "second": after}
            for name, (before, after) in found.judged_differently
        ],
    }
