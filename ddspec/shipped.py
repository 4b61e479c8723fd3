"""The specs that come with ddspec."""

import importlib.resources
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import tomli


@dataclass(frozen=True)
class Shipped:
    """One shipped spec."""

    name: str
    """Path of the spec below specs/, without the suffix."""
    text: str

    @property
    def values(self) -> dict[str, Any]:
        """Return the content of the spec, as parsed from TOML."""
        return tomli.loads(self.text)


def shipped() -> dict[str, Shipped]:
    """Return every shipped spec by its name."""
    return {spec.name: spec for spec in specs_in(importlib.resources.files("ddspec.specs"), "")}


def specs_in(folder: Traversable, prefix: str) -> Iterator[Shipped]:
    """Yield the specs of a folder and its subfolders, with `prefix` before names."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from specs_in(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".toml"):
            name = prefix + entry.name.removesuffix(".toml")
            yield Shipped(name, entry.read_text(encoding="utf-8"))


def copy_of(spec: Shipped) -> str:
    """Return the text of a copy, without the line that names the schema in specs/."""
    lines = spec.text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#:schema"))


COLUMNS = ("spec", "dataset", "ipc", "published", "measured", "cost", "title")


def listing_rows(specs: Iterable[Shipped]) -> list[tuple[str, ...]]:
    """Return the list of specs as rows; the first names the columns.

    What ddspec measured, and the cost, are read from the header of a spec.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for spec in sorted(specs, key=sort_key):
        values = spec.values
        row = (
            spec.name,
            values["dataset"]["name"],
            str(values["synthetic"]["ipc"]),
            published_accuracy(values.get("expect", [])),
            measured_accuracy(spec.text),
            cost(spec.text),
            values.get("title", ""),
        )
        rows.append(row)
    return rows


def chosen(specs: Iterable[Shipped], dataset: str | None, method: str | None) -> list[Shipped]:
    """Return the specs for a dataset and of a method, which is a word of their names."""
    return [
        spec
        for spec in specs
        if dataset in (None, spec.values["dataset"]["name"])
        and (method is None or method.lower() in re.split(r"[/_]", spec.name))
    ]


def sort_key(spec: Shipped) -> tuple[bool, str, int, str]:
    """Return the order of the list: digits first, which run at once; then by dataset and size."""
    dataset, ipc = spec.values["dataset"]["name"], spec.values["synthetic"]["ipc"]
    return dataset != "digits", dataset, ipc, spec.name


ACCURACY = r"(\d[\d.]*(?: \+- [\d.]+)?) %"
MEASURED = re.compile(rf"^# Measured:\s+{ACCURACY}", re.M)
MEASURED_ALONE = re.compile(rf"^# Accuracy:\s+(?:[^:\n]+:\s+)?{ACCURACY} \(last iterate", re.M)
"""The accuracy in the header of a spec without published numbers."""
COST = re.compile(r"^# Cost:\s+(?:about )?([\d.]+) hours on (one GPU|two CPU cores)", re.M)


def measured_accuracy(text: str) -> str:
    """Return the accuracy that ddspec measured, by the header of a spec; "-" if it did not."""
    found = MEASURED.search(text) or MEASURED_ALONE.search(text)
    return found[1] if found else "-"


def cost(text: str) -> str:
    """Return the hours in the header of a spec; "-" if there are none."""
    found = COST.search(text)
    return f"{found[1]} h, {found[2].split()[1]}" if found else "-"


def published_accuracy(expect: Sequence[dict[str, Any]]) -> str:
    """Return the first published accuracy, or "-" if there is none."""
    if not expect:
        return "-"
    first = expect[0]
    spread = f" +- {first['std']}" if "std" in first else ""
    return f"{first['accuracy']}{spread}"
