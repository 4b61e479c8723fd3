"""The specs that come with ddspec."""

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
