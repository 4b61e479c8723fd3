"""The list of shipped specs that `ddspec new` prints."""

from collections.abc import Sequence
from typing import Any

from ddspec.cli.plan_text import columns
from ddspec.shipped import Shipped


def listing(specs: Sequence[Shipped]) -> str:
    """Return a line per spec: name, dataset, ipc, published accuracy, title."""
    rows = [("spec", "dataset", "ipc", "published", "title")]
    for shipped in sorted(specs, key=sort_key):
        values = shipped.values
        dataset, ipc = values["dataset"]["name"], str(values["synthetic"]["ipc"])
        accuracy = published_accuracy(values.get("expect", []))
        rows.append((shipped.name, dataset, ipc, accuracy, values.get("title", "")))
    return "\n".join(columns(rows))


def sort_key(shipped: Shipped) -> tuple[str, int, str]:
    """Return the order of the list: by dataset, images per class, and name."""
    values = shipped.values
    return values["dataset"]["name"], values["synthetic"]["ipc"], shipped.name


def published_accuracy(expect: Sequence[dict[str, Any]]) -> str:
    """Return the first published accuracy, or "-" if there is none."""
    if not expect:
        return "-"
    first = expect[0]
    spread = f" +- {first['std']}" if "std" in first else ""
    return f"{first['accuracy']}{spread}"
