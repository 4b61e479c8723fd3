"""The specs that come with ddspec: which there are, and a copy of one to start from."""

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import tomli

from ddspec.cli.plan_text import columns


@dataclass(frozen=True)
class Shipped:
    """One shipped spec."""

    name: str
    """Where it lies below specs/, without its ending."""
    text: str

    @property
    def values(self) -> dict[str, Any]:
        """What stands in it."""
        return tomli.loads(self.text)


def shipped() -> dict[str, Shipped]:
    """Every shipped spec by its name."""
    return {one.name: one for one in found_in(importlib.resources.files("ddspec.specs"), "")}


def found_in(folder: Traversable, above: str) -> Iterator[Shipped]:
    """The specs of a folder and of the folders in it."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from found_in(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(".toml"):
            name = above + entry.name.removesuffix(".toml")
            yield Shipped(name, entry.read_text(encoding="utf-8"))


def listing(specs: Sequence[Shipped]) -> str:
    """A line each: name, dataset, images per class, published accuracy, title."""
    rows = [("spec", "dataset", "ipc", "published", "title")]
    for one in sorted(specs, key=order):
        values = one.values
        expect = values.get("expect", [])
        dataset, ipc = values["dataset"]["name"], str(values["synthetic"]["ipc"])
        rows.append((one.name, dataset, ipc, published(expect), values.get("title", "")))
    return "\n".join(columns(rows))


def order(one: Shipped) -> tuple[str, int, str]:
    """By dataset, images per class, and method."""
    values = one.values
    return values["dataset"]["name"], values["synthetic"]["ipc"], one.name


def published(expect: Sequence[dict[str, Any]]) -> str:
    """The published accuracy, where there is one."""
    if not expect:
        return "-"
    first = expect[0]
    spread = f" +- {first['std']}" if "std" in first else ""
    return f"{first['accuracy']}{spread}"


def copy_of(one: Shipped) -> str:
    """The text of a copy: shipped specs name a schema beside them, which a copy does not have."""
    lines = one.text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#:schema"))
