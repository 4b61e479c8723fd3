"""What the making of every step of a plan needs: pre-images, extents, routes and costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.estimate import StepWork
from ddspec.dsl.plan.routes import Placement, Routes
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.terms import LANGUAGE, StepKind

VERSIONS: Mapping[StepKind, int] = {
    "dataset": 1,
    "experts": 1,
    "trajectory": 1,
    "path": 1,
    "initialise": 1,
    "distill": 2,
    "evaluate": 2,
}
"""Raised when a stage comes to mean something else; its artifacts then get new names."""


def route_fields(way: Placement) -> dict[str, Any]:
    """The fields of a step that say how it is computed."""
    return {"route": way.route, "processes": way.processes}


def non_default_keys(table: Document, *left_out: str) -> dict[str, Any]:
    """The keys of a table that differ from their defaults, without some of them."""
    return table.model_dump(mode="json", exclude_defaults=True, exclude=set(left_out))


def preimage_of(
    kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
) -> dict[str, Any]:
    """A pre-image of settings under their names in the spec; empty tables are left out."""
    return {
        "step": kind,
        "version": VERSIONS[kind],
        "language": LANGUAGE,
        "settings": {name: value for name, value in settings.items() if value not in ({}, None)},
        "needs": dict(needs),
    }


def imported_preimage(name: str) -> dict[str, Any]:
    """What names experts that were trained elsewhere: their content, and nothing besides."""
    return preimage_of("experts", {"experts": {"imported": name}}, {})


@dataclass(frozen=True)
class StepMaker:
    """One spec for images that were read, on a machine."""

    spec: Spec
    facts: DatasetFacts
    routes: Routes
    work: StepWork

    def preimage(
        self, kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
    ) -> dict[str, Any]:
        """What is hashed: settings under their names in the spec, empty tables left out."""
        return preimage_of(
            kind, {**settings, "compute": non_default_keys(self.spec.compute)}, needs
        )

    def extent(self, *keys: str) -> dict[str, Any]:
        """The values of some keys, by dotted path."""
        tables = self.spec.model_dump(mode="json")
        return {key: tables[key.split(".")[0]][key.split(".")[1]] for key in keys}

    @property
    def seed(self) -> int | None:
        """The seed of the run, left out of a pre-image where it is the default."""
        return self.spec.seed or None

    def end_of_experts(self) -> dict[str, Any]:
        """Settings that say what an expert's last epoch is."""
        return {"experts": {"epochs": self.spec.experts.epochs}}
