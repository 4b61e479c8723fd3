"""Damage in stored artifacts: every array is read and compared with its checksum."""

from collections.abc import Iterator
from dataclasses import dataclass

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.store.array_shapes import forms_of, wrong_array
from ddspec.engine.store.artifacts import artifact_names
from ddspec.engine.store.hdf5_file import corrupt_arrays
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
            if not fault:
                with store.open(kind, digest) as file:
                    problem = wrong_array(file, forms_of(step, plan, kind, file))
                if problem:
                    fault = str(damaged_artifact(store.path(kind, digest), problem))
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
