"""The cost of a run beside its estimate: time, memory, disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddspec.dsl.record.record import Environment, Record, StepRecord
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.reports.format import date_text, duration, plural, significant, size


@dataclass(frozen=True)
class CostRow:
    """The cost of one step."""

    id: str
    kind: str
    status: str
    wall_time: str
    estimated: str
    processor_time: str
    memory: str
    estimated_memory: str
    on_disk: str
    estimated_disk: str
    route: str


def cost_rows(steps: Sequence[StepRecord]) -> list[CostRow]:
    """Return, by step, what ran, what was reused, and time and bytes beside the estimate."""
    return [
        CostRow(
            id=step.id,
            kind=step.kind,
            status=status_text(step),
            wall_time=duration(step.seconds),
            estimated=duration(step.estimate.seconds),
            processor_time=processor_time([step]),
            memory=size(step.memory_bytes) if step.memory_bytes else "",
            estimated_memory=size(step.estimate.memory_bytes),
            on_disk=size(step.bytes),
            estimated_disk=size(step.estimate.disk_bytes),
            route=step_route(step),
        )
        for step in steps
    ]


def status_text(step: StepRecord) -> str:
    """Return whether a step ran, and how many of its artifacts were in the store."""
    if step.status != "partly reused":
        return step.status
    return f"{step.status} ({step.members - step.computed} of {step.members} found)"


def step_route(step: StepRecord) -> str:
    """Return how a step was computed."""
    route = step.route
    parts = [route.device, plural(route.threads, "thread")]
    if step.processes > 1:
        parts.append(plural(step.processes, "process", "processes"))
    if route.networks > 1:
        parts.append(f"{route.networks} networks at once")
    if step.kind == "distill":
        parts.append(f"graphs {route.student_graph}")
    if route.keep_every > 1:
        parts.append(f"1 of {route.keep_every} parameter vectors kept")
    if route.recorded:
        parts.append("CUDA graphs")
    if step.mixed_routes:
        parts.append("some artifacts by another route")
    return ", ".join(parts)


def cost_total(record: Record) -> CostRow:
    """Return the sums over all steps; wall time in which several steps ran counts once."""
    steps = record.steps
    return CostRow(
        id="all steps",
        kind="",
        status="",
        wall_time=duration(record.wall_seconds),
        estimated=duration(sum(step.estimate.seconds for step in steps)),
        processor_time=processor_time(steps),
        memory=size(max((step.memory_bytes for step in steps), default=0)),
        estimated_memory=size(max((step.estimate.memory_bytes for step in steps), default=0)),
        on_disk=size(sum(step.bytes for step in steps)),
        estimated_disk=size(sum(step.estimate.disk_bytes for step in steps)),
        route="",
    )


def processor_time(steps: Sequence[StepRecord]) -> str:
    """Return the processor time of steps when they were made.

    It is empty if that of one step is not known.
    """
    times = [step.processor_seconds_when_made for step in steps]
    known = [seconds for seconds in times if seconds is not None]
    return duration(sum(known)) if len(known) == len(times) else ""


def sitting_rows(record: Record) -> list[tuple[str, ...]]:
    """Return a row for every call of a run that computed something.

    Its cells are end, time, steps, status and machine.
    """
    return [
        (
            date_text(sitting.date),
            duration(sitting.wall_seconds),
            ", ".join(sitting.steps),
            sitting.status,
            machine_text(sitting.environment),
        )
        for sitting in record.sittings
    ]


def maker_rows(record: Record) -> list[tuple[str, str]]:
    """Return, by step, the machines and software that made its artifacts, in any run."""
    rows = []
    for step in record.steps:
        if not step.bytes:
            continue
        makers = "; ".join(map(machine_text, step.environments)) or "not recorded"
        rows.append((step.id, makers))
    return rows


def machine_text(environment: Environment) -> str:
    """Return a machine and its software on one line."""
    parts = [environment.device, f"{environment.cores} cores", f"ddspec {environment.ddspec}"]
    parts += [
        f"{name} {environment.packages[name]}"
        for name in ("torch", "numpy")
        if name in environment.packages
    ]
    named = (("CUDA", environment.cuda), ("cuDNN", environment.cudnn))
    return ", ".join([*parts, *(f"{name} {version}" for name, version in named if version)])


def storage_rows(record: Record) -> list[tuple[str, str]]:
    """Return the size of the stored trajectories.

    It is compared with that of all snapshots of all experts.
    """
    storage, plan = record.storage, record.plan
    if not storage.experts:
        return []
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
    """Return the seconds per iteration (AST, Table VI), and the part that they measure."""
    matching, pace = record.plan.distill.matching, seconds_per_iteration(record)
    if pace is None:
        return []
    rows = [
        ("seconds per iteration", significant(pace)),
        ("iterations", f"{len(record.series.matching_loss):,}"),
    ]
    if isinstance(matching, TrajectoryMatching):
        rows.append(("student steps of one", f"{matching.syn_steps:,}"))
    return [*rows, ("on", record.environment.device)]


def seconds_per_iteration(record: Record) -> float | None:
    """Return the time when artifacts were made, in any run; None if it is not known."""
    count = len(record.series.matching_loss)
    seconds = sum(step.seconds_when_made for step in record.steps if step.kind == "distill")
    return seconds / count if count and seconds else None
