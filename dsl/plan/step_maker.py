"""Parts common to the makers of all steps: preimages, extents, routes and costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.estimate import StepWork
from ddspec.dsl.plan.routes import Placement, Routes
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.trajectory import SgdTrajectory
from ddspec.dsl.terms import LANGUAGE, Protocol, StepKind

VERSIONS: Mapping[StepKind, int] = {
    "dataset": 1,
    "scores": 1,
    "experts": 1,
    "trajectory": 1,
    "path": 1,
    "initialise": 1,
    "distill": 2,
    "evaluate": 2,
}
"""Versions of stages: raised if a stage's meaning changes, which renames its artifacts."""

PROTOCOL_VERSIONS: Mapping[Protocol, int] = {"ast": 3}
"""Versions of evaluations by one protocol, where it changed alone."""


def stage_version(kind: StepKind, protocol: Protocol | None = None) -> int:
    """Return the version of a stage; of an evaluation that of its protocol."""
    if kind == "evaluate" and protocol is not None:
        return PROTOCOL_VERSIONS.get(protocol, VERSIONS[kind])
    return VERSIONS[kind]


def route_fields(placement: Placement) -> dict[str, Any]:
    """Return the fields of a step that say how it is computed."""
    return {"route": placement.route, "processes": placement.processes}


def non_default_keys(table: Document, *left_out: str) -> dict[str, Any]:
    """Return the keys of a table that differ from their defaults, without some of them."""
    return table.model_dump(mode="json", exclude_defaults=True, exclude=set(left_out))


def preimage_of(
    kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
) -> dict[str, Any]:
    """Return a preimage: settings under their names in the spec, without empty tables."""
    return {
        "step": kind,
        "version": VERSIONS[kind],
        "language": LANGUAGE,
        "settings": {name: value for name, value in settings.items() if value not in ({}, None)},
        "needs": dict(needs),
    }


def imported_preimage(name: str) -> dict[str, Any]:
    """Return the preimage of imported experts, which is their content alone."""
    return preimage_of("experts", {"experts": {"imported": name}}, {})


@dataclass(frozen=True)
class StepMaker:
    """One spec with the facts of its images, on a machine."""

    spec: Spec
    facts: DatasetFacts
    routes: Routes
    work: StepWork

    def preimage(
        self, kind: StepKind, settings: Mapping[str, Any], needs: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return a preimage: settings under their names in the spec, without empty tables."""
        return preimage_of(
            kind, {**settings, "compute": non_default_keys(self.spec.compute)}, needs
        )

    def extent(self, *keys: str) -> dict[str, Any]:
        """Return the values of some keys by dotted path."""
        tables = self.spec.model_dump(mode="json")
        return {key: tables[key.split(".")[0]][key.split(".")[1]] for key in keys}

    @property
    def experts_id(self) -> StepKind:
        """Return the id of the step that trains experts, which is also its kind."""
        return "experts" if isinstance(self.spec.trajectory, SgdTrajectory) else "trajectory"

    @property
    def seed(self) -> int | None:
        """Return the run's seed for a preimage, which leaves out the default."""
        return self.spec.seed or None

    def end_of_experts(self) -> dict[str, Any]:
        """Return the settings on which an expert's last epoch depends."""
        return {"experts": {"epochs": self.spec.experts.epochs}, **self.network_of_imported()}

    def network_of_imported(self) -> dict[str, Any]:
        """Return the network of imported experts, whose digest says their content alone."""
        if self.spec.experts.imported is None:
            return {}
        return {"expert_network": non_default_keys(self.spec.network)}
