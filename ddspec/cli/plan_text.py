"""A plan in a terminal: every step, whether it is reused, why it runs, and what it will cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddspec.dsl.parsing.loader import LoadedSpec
from ddspec.reports.format import plain_duration, plain_size

if TYPE_CHECKING:
    from ddspec.api import CompiledSpec
    from ddspec.engine.run.status import Reason, Standing
    from ddspec.sweeps import CompiledSweep


def plan_text(compiled: "CompiledSpec", standings: "Sequence[Standing]") -> str:
    """The plan for people."""
    plan, loaded, unread = compiled.plan, compiled.loaded, compiled.unread
    rows = [("step", "digest", "state", "time", "memory", "disk")]
    notes: list[str] = []
    for standing in standings:
        step = standing.step
        share = left_share(standing)
        rows.append(
            (
                step.id,
                "?" if unread else step.digest[:8],
                "?" if unread else state_of(standing),
                plain_duration(step.estimate.seconds * share) if share else "-",
                plain_size(step.estimate.memory_bytes) if share else "-",
                plain_size(step.estimate.disk_bytes * share) if share else "-",
            )
        )
        notes += (
            []
            if unread
            else [f"  {step.id}: {reason_text(reason, loaded)}" for reason in standing.reasons]
        )
    table = columns(rows)
    route = plan.steps[0].route.device
    total = sum(map(seconds_left, standings))
    folder = plan.name if unread else plan.folder
    end = f"{folder} on {route}: {plain_duration(total)} left" if total else "nothing left to do"
    unknown = ["", f"{unread}; without the images it is not known:", *UNKNOWN] if unread else []
    why = ["", "why:", *notes] if notes else []
    shrunk = ["", "a preview, shrunk to minutes:", *(f"  {one}" for one in plan.preview)]
    how = "by rates measured here" if plan.measured_rates else "by round rates of such a device"
    preview = shrunk if plan.preview else []
    lines = [*table, *why, *preview, *unknown, "", f"{end} ({how})"]
    return "\n".join(lines)


def sweep_text(sweep: "CompiledSweep", surveys: "Sequence[Sequence[Standing]]") -> str:
    """The plan of a sweep for people: every run, and the whole with what they share once."""
    rows = [("run", "folder", "time left", "by itself")]
    met: set[str] = set()
    whole = 0.0
    for (member, compiled), standings in zip(sweep.members, surveys, strict=True):
        alone = sum(seconds_left(standing) for standing in standings)
        new = [standing for standing in standings if standing.step.digest not in met]
        left = sum(seconds_left(standing) for standing in new)
        met |= {standing.step.digest for standing in standings}
        whole += left
        folder = compiled.plan.name if compiled.unread else compiled.plan.folder
        new_time, all_time = (plain_duration(time) if time else "-" for time in (left, alone))
        rows.append((member.combination.label, folder, new_time, all_time))
    table = columns(rows)
    shared = "what runs share is counted where it is made first"
    end = f"{plain_duration(whole)} left; {shared}" if whole else "nothing left to do"
    unread = sweep.plans[0].unread
    return "\n".join([*table, "", *([unread, ""] if unread else []), end])


def sweep_json(sweep: "CompiledSweep", surveys: "Sequence[Sequence[Standing]]") -> dict[str, Any]:
    """The same for machines: the plan of every run with its label."""
    runs = [
        {"label": member.combination.label, **plan_json(compiled, standings)}
        for (member, compiled), standings in zip(sweep.members, surveys, strict=True)
    ]
    return {"runs": runs}


def seconds_left(standing: "Standing") -> float:
    """What is left of a step."""
    return standing.step.estimate.seconds * left_share(standing)


UNKNOWN = (
    "  the digests, and with them what the store holds",
    "  whether all images of the dataset are there",
)


def plan_json(compiled: "CompiledSpec", standings: "Sequence[Standing]") -> dict[str, Any]:
    """The same for machines."""
    plan, loaded = compiled.plan, compiled.loaded
    return {
        "unread": compiled.unread,
        "name": plan.name,
        "digest": plan.digest,
        "folder": plan.folder,
        "preview": list(plan.preview),
        "measured_rates": plan.measured_rates,
        "steps": [
            {
                "id": standing.step.id,
                "kind": standing.step.kind,
                "digest": standing.step.digest,
                "route": standing.step.route.model_dump(),
                "processes": standing.step.processes,
                "reused": not standing.missing,
                "artifacts": len(standing.artifacts),
                "missing": [
                    {"number": a.number, "digest": a.digest, "have": a.have, "want": a.want}
                    for a in standing.missing
                ],
                "reasons": [
                    {
                        "key": reason.key,
                        "text": reason.text,
                        "line": loaded.line_of(reason.key) if reason.key else None,
                    }
                    for reason in standing.reasons
                ],
                "estimate": {
                    **standing.step.estimate.model_dump(),
                    "seconds_left": seconds_left(standing),
                },
            }
            for standing in standings
        ],
    }


def left_share(standing: "Standing") -> float:
    """How much of a step is left, of 1."""
    wanted = sum(artifact.want for artifact in standing.artifacts)
    left = sum(artifact.want - artifact.have for artifact in standing.missing)
    return left / wanted if wanted else 0.0


def state_of(standing: "Standing") -> str:
    """Reused, or how many artifacts are to be made."""
    if not standing.missing:
        return "read" if standing.step.kind == "dataset" else "reused"
    if len(standing.artifacts) == 1:
        return "to do"
    return f"{len(standing.missing)} of {len(standing.artifacts)} to do"


def reason_text(reason: "Reason", loaded: LoadedSpec) -> str:
    """A reason with the line of the key that asks for it."""
    line = loaded.line_of(reason.key) if reason.key else None
    named = reason.text if reason.text.startswith(reason.key) else f"{reason.key}: {reason.text}"
    return f"{named} (line {line})" if line else named


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their cells below one another."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
