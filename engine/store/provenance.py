"""How an artifact was made: by which routes, on which machines, and at what cost.

Provenance is kept in an artifact's attributes and is no part of its digest, because it does not
change what the artifact means.
"""

import json
from dataclasses import dataclass
from typing import Any

import h5py

from ddspec.dsl.digest import canonical
from ddspec.dsl.plan.route import Route
from ddspec.dsl.record.record import Environment
from ddspec.engine.store.hdf5_file import read_text_attribute


@dataclass(frozen=True)
class Work:
    """Work of one process on an artifact."""

    route: Route
    environment: Environment
    """The machine and the software that did it."""
    seconds: float
    """Wall time."""
    processor_seconds: float
    """Processor time of all threads of the process."""
    memory_bytes: int
    """Peak memory of the process: on a GPU of torch's memory there, otherwise of all of it."""


@dataclass(frozen=True)
class Provenance:
    """How an artifact was made, over all runs that worked on it."""

    routes: tuple[Route, ...] = ()
    """Every route that some part was computed on; empty for an artifact from elsewhere."""
    environments: tuple[Environment, ...] = ()
    """Every machine and software that worked on it; empty if not known."""
    seconds: float = 0.0
    """Wall time."""
    processor_seconds: float | None = 0.0
    """None if not known, as in artifacts of ddspec 0.1.0."""
    memory_bytes: int = 0
    """Peak memory; 0 if not known."""

    def then(self, work: Work) -> "Provenance":
        """Return the provenance after further work."""
        before = self.processor_seconds
        return Provenance(
            routes=with_last(self.routes, work.route),
            # Work before the first recorded machine was done on one that is not known.
            environments=with_last(self.environments, work.environment)
            if self.environments or not self.routes
            else (),
            seconds=self.seconds + work.seconds,
            processor_seconds=None if before is None else before + work.processor_seconds,
            memory_bytes=max(self.memory_bytes, work.memory_bytes),
        )

    def joined(self, other: "Provenance") -> "Provenance":
        """Return the provenance of two parts that were made apart from each other."""
        known = self.processor_seconds, other.processor_seconds
        routes, environments = self.routes, self.environments
        for route in other.routes:
            routes = with_last(routes, route)
        for environment in other.environments:
            environments = with_last(environments, environment)
        both = all(part.environments or not part.routes for part in (self, other))
        return Provenance(
            routes=routes,
            environments=environments if both else (),
            seconds=self.seconds + other.seconds,
            processor_seconds=None if None in known else sum(s for s in known if s is not None),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes in which an artifact states its provenance."""
        known = self.processor_seconds is not None
        return {
            "routes": canonical([route.model_dump() for route in self.routes]),
            "environments": canonical([machine.model_dump() for machine in self.environments]),
            "seconds": self.seconds,
            **({"processor_seconds": self.processor_seconds} if known else {}),
            "memory_bytes": self.memory_bytes,
        }

    @classmethod
    def of(cls, file: h5py.File) -> "Provenance":
        """Return the provenance that an artifact's attributes state.

        Raises KeyError or ValueError if they are missing or damaged.
        """
        stated = file.attrs
        environments = (
            json.loads(read_text_attribute(file, "environments"))
            if "environments" in stated
            else []
        )
        return cls(
            tuple(map(Route.model_validate, json.loads(read_text_attribute(file, "routes")))),
            tuple(map(Environment.model_validate, environments)),
            float(stated["seconds"]),
            float(stated["processor_seconds"]) if "processor_seconds" in stated else None,
            int(stated.get("memory_bytes", 0)),
        )


def with_last(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """Return the values with one more, unless it is among them."""
    return values if value in values else (*values, value)
