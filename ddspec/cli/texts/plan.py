"""A plan as text or JSON: its steps, which are reused, why others run, the cost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddspec.cli.texts.columns import columns
from ddspec.dsl.facts.assumed_devices import PEAKS, assumption_text
from ddspec.dsl.parsing.loader import LoadedSpec
from ddspec.reports.format import plain_duration, plain_size

if TYPE_CHECKING:
    from ddspec.api import CompiledSpec
    from ddspec.dsl.plan.steps import Plan
    from ddspec.engine.run.status import Reason, StepState
    from ddspec.sweeps import CompiledSweep

UNKNOWN_WITHOUT_IMAGES = (
    "  the digests, and so which artifacts the store already has",
    "  whether all images of the dataset are there",
)


def plan_lines(compiled: "CompiledSpec", states: "Sequence[StepState]") -> list[str]:
    """Return a plan as a table of its steps, followed by the reasons why they run.

    `states` are those of the plan's steps, in the same order.
    """
    plan, unread = compiled.plan, compiled.unread
    rows: list[tuple[str, ...]] = [("step", "digest", "state", "time", "memory", "disk")]
    rows += [step_row(state, known=not unread) for state in states]
    lines = columns(rows)
    reasons = [
        f"  {state.step.id}: {reason_text(reason, compiled.loaded)}"
        for state in states
        for reason in state.reasons
    ]
    if reasons and not unread:
        lines += ["", "why:", *reasons]
    if plan.preview:
        lines += ["", "a preview, shrunk to minutes:", *(f"  {change}" for change in plan.preview)]
    if unread:
        lines += ["", f"{unread}; unknown without the images:", *UNKNOWN_WITHOUT_IMAGES]
    seconds = sum(map(seconds_left, states))
    name = plan.name if unread else plan.folder
    device = plan.steps[0].route.device
    total = f"{name} on {device}: {plain_duration(seconds)} left" if seconds else "nothing to do"
    read = [] if unread else [f"read: {images_text(compiled)}"]
    return [*lines, "", *read, f"{total} (from speeds {speeds_text(compiled)})"]


def speeds_text(compiled: "CompiledSpec") -> str:
    """Return from which speeds the estimates are."""
    if compiled.assumed is not None:
        return assumption_text(compiled.assumed)
    return (
        "measured on this machine" if compiled.plan.measured_rates else "typical of such a device"
    )


def images_text(compiled: "CompiledSpec") -> str:
    """Return the numbers of images and classes, their source, and what was passed over."""
    return f"{compiled.plan.dataset.facts.text}{compiled.reading.text}"


def run_head(plan: "Plan", states: "Sequence[StepState]", folder: Path) -> str:
    """Return what a run will do: its steps, how many are reused, the time and the folder."""
    reused, seconds = sum(not state.missing for state in states), sum(map(seconds_left, states))
    steps = f"{len(states)} steps" + (f", {reused} of them reused" if reused else "")
    left = f"about {plain_duration(seconds)}" if seconds else "nothing to do"
    return f"{plan.folder} on {plan.steps[0].route.device}: {steps}, {left}, in {folder}"


def sweep_head(sweep: "CompiledSweep", states_by_run: "Sequence[Sequence[StepState]]") -> str:
    """Return what a sweep will do: its runs, and the time of all; shared work counts once."""
    seconds = sum(added for added, _ in seconds_of_runs(states_by_run))
    left = f"about {plain_duration(seconds)} in all" if seconds else "nothing to do"
    return f"{sweep.plans[0].plan.name}: {len(sweep.plans)} runs, {left}"


def seconds_of_runs(
    states_by_run: "Sequence[Sequence[StepState]]",
) -> Iterator[tuple[float, float]]:
    """Yield the time left for each run: what it adds to the runs before it, and by itself."""
    counted: set[str] = set()
    for states in states_by_run:
        alone = sum(seconds_left(state) for state in states)
        added = sum(seconds_left(state) for state in states if state.step.digest not in counted)
        counted |= {state.step.digest for state in states}
        yield added, alone


def step_row(state: "StepState", known: bool) -> tuple[str, ...]:
    """Return a step's row; digest and state are "?" if not `known`."""
    step, share = state.step, share_left(state)
    return (
        step.id,
        step.digest[:8] if known else "?",
        state_text(state) if known else "?",
        plain_duration(step.estimate.seconds * share) if share else "-",
        plain_size(step.estimate.memory_bytes) if share else "-",
        plain_size(step.estimate.disk_bytes * share) if share else "-",
    )


def sweep_lines(
    sweep: "CompiledSweep", states_by_run: "Sequence[Sequence[StepState]]"
) -> list[str]:
    """Return a table of the runs of a sweep with the time left for each and for all.

    A step that several runs share is counted once, in the first of them.
    """
    rows: list[tuple[str, ...]] = [("run", "folder", "time left", "by itself")]
    total = 0.0
    seconds = seconds_of_runs(states_by_run)
    for (member, compiled), (added, alone) in zip(sweep.members, seconds, strict=True):
        total += added
        folder = compiled.plan.name if compiled.unread else compiled.plan.folder
        times = (plain_duration(left) if left else "-" for left in (added, alone))
        rows.append((member.combination.label, folder, *times))
    lines = [*columns(rows), ""]
    if sweep.plans[0].unread:
        lines += [sweep.plans[0].unread, ""]
    files = sweep.plans[0].reading.files
    if files is not None and files.passed_over:
        lines += [f"files passed over: {files.text}", ""]
    shared = "work that runs share is counted in the first run that needs it"
    lines.append(f"{plain_duration(total)} left; {shared}" if total else "nothing to do")
    if sweep.plans[0].assumed is not None:
        lines.append(f"speeds {assumption_text(sweep.plans[0].assumed)}")
    return lines


def sweep_json(
    sweep: "CompiledSweep", states_by_run: "Sequence[Sequence[StepState]]"
) -> dict[str, Any]:
    """Return the plan of every run of a sweep as JSON, with the run's label."""
    runs = [
        {"label": member.combination.label, **plan_json(compiled, states)}
        for (member, compiled), states in zip(sweep.members, states_by_run, strict=True)
    ]
    return {"runs": runs}


def plan_json(compiled: "CompiledSpec", states: "Sequence[StepState]") -> dict[str, Any]:
    """Return a plan and the states of its steps as JSON."""
    plan = compiled.plan
    return {
        "unread": compiled.unread,
        "name": plan.name,
        "digest": plan.digest,
        "folder": plan.folder,
        "preview": list(plan.preview),
        "files": None if compiled.reading.files is None else compiled.reading.files.model_dump(),
        "source": compiled.reading.source,
        "measured_rates": plan.measured_rates,
        "assumed": assumed_json(compiled),
        "steps": [step_json(state, compiled.loaded) for state in states],
    }


def assumed_json(compiled: "CompiledSpec") -> dict[str, Any] | None:
    """Return the GPU that a plan assumes, with its peak figures; None if it is for this machine."""
    if compiled.assumed is None:
        return None
    return {"device": compiled.assumed, **vars(PEAKS[compiled.assumed])}


def step_json(state: "StepState", loaded: LoadedSpec) -> dict[str, Any]:
    """Return one step as JSON: its route, missing artifacts, reasons and estimate."""
    step = state.step
    return {
        "id": step.id,
        "kind": step.kind,
        "digest": step.digest,
        "route": step.route.model_dump(),
        "processes": step.processes,
        "reused": not state.missing,
        "artifacts": len(state.artifacts),
        "missing": [
            {"number": a.number, "digest": a.digest, "have": a.have, "want": a.want}
            for a in state.missing
        ],
        "reasons": [
            {
                "key": reason.key,
                "text": reason.text,
                "line": loaded.line_of(reason.key) if reason.key else None,
            }
            for reason in state.reasons
        ],
        "estimate": {**step.estimate.model_dump(), "seconds_left": seconds_left(state)},
    }


def seconds_left(state: "StepState") -> float:
    """Return the estimated time for what is left of a step."""
    return state.step.estimate.seconds * share_left(state)


def share_left(state: "StepState") -> float:
    """Return the share of a step that is left to do, from 0 to 1."""
    if state.diverged is not None:
        return 0.0
    wanted = sum(artifact.want for artifact in state.artifacts)
    left = sum(artifact.want - artifact.have for artifact in state.missing)
    return left / wanted if wanted else 0.0


def state_text(state: "StepState") -> str:
    """Return whether a step is reused or how many of its artifacts are missing."""
    if not state.missing:
        return "read" if state.step.kind == "dataset" else "reused"
    if state.diverged is not None:
        return "diverged"
    if len(state.artifacts) == 1:
        return "to do"
    return f"{len(state.missing)} of {len(state.artifacts)} to do"


def reason_text(reason: "Reason", loaded: LoadedSpec) -> str:
    """Return a reason with its key and the key's line in the spec."""
    line = loaded.line_of(reason.key) if reason.key else None
    text = reason.text if reason.text.startswith(reason.key) else f"{reason.key}: {reason.text}"
    return f"{text} (line {line})" if line else text
