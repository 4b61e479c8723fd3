"""The specs that come with ddspec: which there are, and a copy of one to start from."""

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import tomli


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


def copy_of(one: Shipped) -> str:
    """The text of a copy: shipped specs name a schema beside them, which a copy does not have."""
    lines = one.text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#:schema"))
