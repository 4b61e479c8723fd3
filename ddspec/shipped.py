"""The specs that come with ddspec."""

import importlib.resources
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


def listing_rows(specs: Iterable[Shipped]) -> list[tuple[str, ...]]:
    """Return the list of specs as rows: name, dataset, ipc, published accuracy, title.

    The first row names the columns.
    """
    rows: list[tuple[str, ...]] = [("spec", "dataset", "ipc", "published", "title")]
    for spec in sorted(specs, key=sort_key):
        values = spec.values
        dataset, ipc = values["dataset"]["name"], str(values["synthetic"]["ipc"])
        accuracy = published_accuracy(values.get("expect", []))
        rows.append((spec.name, dataset, ipc, accuracy, values.get("title", "")))
    return rows


def sort_key(spec: Shipped) -> tuple[str, int, str]:
    """Return the order of the list: by dataset, images per class, and name."""
    values = spec.values
    return values["dataset"]["name"], values["synthetic"]["ipc"], spec.name


def published_accuracy(expect: Sequence[dict[str, Any]]) -> str:
    """Return the first published accuracy, or "-" if there is none."""
    if not expect:
        return "-"
    first = expect[0]
    spread = f" +- {first['std']}" if "std" in first else ""
    return f"{first['accuracy']}{spread}"
