"""What is wrong with an artifact: read whole, every array against its checksum."""

from collections.abc import Iterator
from dataclasses import dataclass

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.store.artifacts import names_of
from ddspec.engine.store.hdf5_file import corrupt_arrays
from ddspec.engine.store.store import ArtifactKind, Store, damaged_artifact


@dataclass(frozen=True)
class InspectedArtifact:
    """One artifact of a plan."""

    step: str
    kind: ArtifactKind
    digest: str
    fault: str
    """Empty where nothing is wrong."""
    present: bool

    @property
    def named(self) -> str:
        """What it is called in messages."""
        return f"{self.step}: {self.kind}/{self.digest}.h5"


def inspect_plan(plan: Plan, store: Store) -> Iterator[InspectedArtifact]:
    """Every artifact of a plan, one after the other."""
    for step in plan.steps:
        for kind, name, _ in names_of(step):
            if not store.has(kind, name):
                yield InspectedArtifact(step.id, kind, name, "", False)
                continue
            fault = damage_of(store, kind, name)
            if not fault and kind == "expert":
                fault = wrong_shape(store, name, plan.network_parameters)
            yield InspectedArtifact(step.id, kind, name, fault, True)


def damage_of(store: Store, kind: ArtifactKind, name: str) -> str:
    """What is wrong with an artifact; empty where nothing is."""
    try:
        with store.open(kind, name) as file:
            for array in corrupt_arrays(file):
                raise damaged_artifact(store.path(kind, name), f"is corrupt in {array}")
    except StoreError as error:
        return str(error)
    return ""


def wrong_shape(store: Store, name: str, parameters: int) -> str:
    """Whether the snapshots of an expert are of another network."""
    with store.open("expert", name) as file:
        shape = tuple(file["theta"].shape)
    if len(shape) != 2 or shape[1] != parameters:
        return f"artifact expert/{name}.h5 has snapshots {shape}, not of {parameters} parameters"
    return ""
