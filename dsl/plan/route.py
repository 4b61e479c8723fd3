"""The route of a step, and its expected cost."""

from pydantic import Field

from ddspec.dsl.document import Document
from ddspec.dsl.terms import Device, StudentGraph

MOST_AT_ONCE = 1024
"""A count of threads, networks or processes, limited because a plan may be a stranger's."""


class Route(Document):
    """How a step is computed, which may change the last bits of a result, not its meaning."""

    device: Device
    threads: int = Field(ge=1, le=MOST_AT_ONCE)
    """Threads of one operation on the CPU."""
    networks: int = Field(1, ge=1, le=MOST_AT_ONCE)
    """Networks of an evaluation that are trained in one stack."""
    student_graph: StudentGraph = "recomputed"
    """Whether the graph of every student step stays in memory until its adjoint step."""
    recorded: bool = False
    """Whether steps are recorded once as CUDA graphs and replayed."""
    classes: int = Field(1, ge=1)
    """Classes whose images go through a network together, where classes are compared."""
    keep_every: int = Field(1, ge=1)
    """Every k-th parameter vector of a student stays in memory; the others are recomputed."""


class Estimate(Document):
    """The expected cost of a step, by counting operations."""

    seconds: float
    memory_bytes: int
    disk_bytes: int
