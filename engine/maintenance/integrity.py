"""Damage in stored artifacts: every array is read and compared with its checksum."""

from collections.abc import Iterator
from dataclasses import dataclass

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.store.artifacts import artifact_names
from ddspec.engine.store.hdf5_file import SNAPSHOTS, corrupt_arrays
from ddspec.engine.store.store import ArtifactKind, Store, damaged_artifact


@dataclass(frozen=True)
class InspectedArtifact:
    """One artifact of a plan, after it was read."""

    step: str
    kind: ArtifactKind
    digest: str
    fault: str
    """The fault of the artifact; empty if it has none."""
    present: bool

    @property
    def label(self) -> str:
        """The artifact's name in messages."""
        return f"{self.step}: {self.kind}/{self.digest}.h5"


def inspect_artifacts(plan: Plan, store: Store) -> Iterator[InspectedArtifact]:
    """Yield every artifact of a plan with its fault."""
    for step in plan.steps:
        for kind, digest, _ in artifact_names(step):
            if not store.has(kind, digest):
                yield InspectedArtifact(step.id, kind, digest, "", False)
                continue
            fault = damage_in(store, kind, digest)
            if not fault and kind == "expert":
                fault = shape_fault(store, digest, plan.network_parameters)
            yield InspectedArtifact(step.id, kind, digest, fault, True)


def damage_in(store: Store, kind: ArtifactKind, digest: str) -> str:
    """Return the damage in an artifact as text; empty if there is none."""
    try:
        with store.open(kind, digest) as file:
            for array in corrupt_arrays(file):
                raise damaged_artifact(store.path(kind, digest), f"is corrupt in {array}")
    except StoreError as error:
        return str(error)
    return ""


def shape_fault(store: Store, digest: str, parameters: int) -> str:
    """Return a message if an expert's snapshots do not have so many parameters."""
    with store.open("expert", digest) as file:
        shape = tuple(file[SNAPSHOTS].shape)
    if len(shape) != 2 or shape[1] != parameters:
        return f"artifact expert/{digest}.h5 has snapshots {shape}, not of {parameters} parameters"
    return ""
