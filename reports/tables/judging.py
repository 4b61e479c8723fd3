"""What accuracies were measured on and by: only runs that are judged alike are compared."""

from collections.abc import Sequence

from ddspec.dsl.record.record import Record
from ddspec.reports.format import parts_per_side

WHITENING_WORDS = {None: "no", "mtt": "yes", "frepo": "as in FRePo", "kip": "as in KIP"}


def judging_conditions(record: Record) -> dict[str, str]:
    """Return on which images a run's sets were judged, and by which evaluation protocol.

    The learning rate belongs to a set and the networks have rows of their own, so neither is
    among them.
    """
    step = record.plan.evaluations("distilled")[0]
    parts = parts_per_side(record)
    dataset, facts, evaluation = record.plan.dataset.dataset, record.dataset, step.evaluation
    return {
        "dataset": dataset.root or dataset.name,
        "images": facts.fingerprint[:8],
        "classes": f"{facts.classes:,}",
        "pixels": f"{facts.height}x{facts.width}",
        "images stored as": f"{parts}x{parts} parts" if parts > 1 else "whole",
        "whitened": WHITENING_WORDS[dataset.whitening],
        "held out to choose by": f"{dataset.validation:.0%}",
        "protocol": evaluation.protocol,
        "epochs": f"{evaluation.epochs:,}",
        "images per step": f"{evaluation.batch_size:,}",
        "augmentation": ", ".join(step.augmentation.families) or "none",
        "result": evaluation.choose,
        "preview": "yes" if record.plan.preview else "no",
    }


def judged_alike(records: Sequence[Record]) -> list[list[int]]:
    """Return the numbers of the records in groups of equal conditions, in order."""
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for number, record in enumerate(records):
        groups.setdefault(tuple(judging_conditions(record).items()), []).append(number)
    return list(groups.values())


def differing_conditions(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """Return the conditions in which records differ, with the value of each."""
    conditions = [judging_conditions(record) for record in records]
    rows = [(name, [of_record[name] for of_record in conditions]) for name in conditions[0]]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
