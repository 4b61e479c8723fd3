"""What a run cost, against what was expected: time, memory, disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddspec.dsl.record.record import Record, StepRecord
from ddspec.reports.format import duration, plural, significant, size


@dataclass(frozen=True)
class CostRow:
    """What a step cost."""

    id: str
    kind: str
    status: str
    this_run: str
    when_made: str
    estimated: str
    memory: str
    estimated_memory: str
    on_disk: str
    estimated_disk: str
    route: str


def cost_rows(steps: Sequence[StepRecord]) -> list[CostRow]:
    """Per step: what ran, what was reused, time and bytes against the estimate."""
    return [
        CostRow(
            id=step.id,
            kind=step.kind,
            status=status_text(step),
            this_run=duration(step.seconds),
            when_made=duration(step.seconds_when_made),
            estimated=duration(step.estimate.seconds),
            memory=size(step.memory_bytes) if step.memory_bytes else "",
            estimated_memory=size(step.estimate.memory_bytes),
            on_disk=size(step.bytes),
            estimated_disk=size(step.estimate.disk_bytes),
            route=step_route(step),
        )
        for step in steps
    ]


def status_text(step: StepRecord) -> str:
    """Whether a step ran, and how many of its artifacts it found."""
    if step.status != "partly reused":
        return step.status
    return f"{step.status} ({step.members - step.computed} of {step.members} found)"


def step_route(step: StepRecord) -> str:
    """How it was computed."""
    route = step.route
    said = [route.device, plural(route.threads, "thread")]
    if step.processes > 1:
        said.append(plural(step.processes, "process", "processes"))
    if route.networks > 1:
        said.append(f"{route.networks} networks at once")
    if step.kind == "distill":
        said.append(f"graphs {route.student_graph}")
    if route.keep_every > 1:
        said.append(f"1 of {route.keep_every} parameter vectors kept")
    if route.recorded:
        said.append("CUDA graphs")
    if step.mixed_routes:
        said.append("some artifacts by another route")
    return ", ".join(said)


def cost_total(steps: Sequence[StepRecord]) -> CostRow:
    """The sums over all steps."""
    return CostRow(
        id="all steps",
        kind="",
        status="",
        this_run=duration(sum(step.seconds for step in steps)),
        when_made=duration(sum(step.seconds_when_made for step in steps)),
        estimated=duration(sum(step.estimate.seconds for step in steps)),
        memory=size(max((step.memory_bytes for step in steps), default=0)),
        estimated_memory=size(max((step.estimate.memory_bytes for step in steps), default=0)),
        on_disk=size(sum(step.bytes for step in steps)),
        estimated_disk=size(sum(step.estimate.disk_bytes for step in steps)),
        route="",
    )


def storage_rows(record: Record) -> list[tuple[str, str]]:
    """What the trajectories take, against all snapshots of all experts."""
    storage, plan = record.storage, record.plan
    rows = [
        ("experts", f"{storage.experts:,}"),
        ("parameters per snapshot", f"{plan.network_parameters:,}"),
        ("trajectories as stored", size(storage.stored)),
        ("all snapshots of all experts", size(storage.full)),
    ]
    if storage.full and storage.stored:
        share = f"{100 * storage.stored / storage.full:.3g} %"
        rows.append(("stored share", f"{share} (1 in {storage.full / storage.stored:.3g})"))
    return rows


def pace_rows(record: Record) -> list[tuple[str, str]]:
    """Seconds of an iteration (AST, Table VI), and what they are of."""
    step, pace = record.plan.distill, seconds_per_iteration(record)
    if pace is None:
        return []
    return [
        ("seconds per iteration", significant(pace)),
        ("iterations", f"{len(record.series.matching_loss):,}"),
        ("student steps of one", f"{step.matching.syn_steps:,}"),
        ("on", record.environment.device),
    ]


def seconds_per_iteration(record: Record) -> float | None:
    """When they were made, in whatever run; None where nothing is known of it."""
    count = len(record.series.matching_loss)
    seconds = sum(step.seconds_when_made for step in record.steps if step.kind == "distill")
    return seconds / count if count and seconds else None
