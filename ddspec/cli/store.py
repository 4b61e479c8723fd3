"""Commands on store and machine: what lies there, what is whole, what can go, what is missing."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE
from ddspec.cli.errors import NOT_REPRODUCED, UNFIT, WRONG_USAGE, clear_errors, complain, fail
from ddspec.cli.options import Data, Json, StoreFolder
from ddspec.cli.plan_text import columns, size
from ddspec.cli.progress import span

store_app = typer.Typer(
    name="store",
    help="What lies in the store: list it, verify it, remove what no run uses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@store_app.command("ls")
def store_ls(store: StoreFolder = DEFAULT_STORE, as_machine: Json = False) -> None:
    """How many artifacts of each kind, and how large they are."""
    with clear_errors():
        from ddspec.engine.maintenance.garbage import KINDS, kept
        from ddspec.engine.store.store import Store

        found = list(kept(Store(store)))
        if as_machine:
            rows = [{"kind": one.kind, "digest": one.digest, "bytes": one.bytes} for one in found]
            print(json.dumps(rows, indent=1))
            return
        table = [("kind", "artifacts", "size")]
        for kind in KINDS:
            own = [one.bytes for one in found if one.kind == kind]
            if own:
                table.append((kind, str(len(own)), size(sum(own))))
        table.append(("all", str(len(found)), size(sum(one.bytes for one in found))))
        print("\n".join(columns(table)))


@store_app.command("verify")
def store_verify(store: StoreFolder = DEFAULT_STORE) -> None:
    """Read every artifact whole, against the checksums that it was written with."""
    with clear_errors():
        from ddspec.engine.maintenance.garbage import faults
        from ddspec.engine.store.store import Store

        sound, wrong = 0, 0
        if not store.is_dir():
            fail(f"there is no store {store}", "--store says where it lies", UNFIT)
        for _, fault in faults(Store(store)):
            sound, wrong = sound + (not fault), wrong + bool(fault)
            if fault:
                print(f"fault: {fault}")
        print(f"{sound} whole, {wrong} at fault")
    if wrong:
        complain("  = hint: delete the files named above; the next run makes them again")
        raise typer.Exit(NOT_REPRODUCED)


@store_app.command("gc")
def store_gc(
    store: StoreFolder = DEFAULT_STORE,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", metavar="DIR", help="Folders of runs; may be repeated. Else runs."),
    ] = None,
    days: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="Spare what is younger.")
    ] = 1.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them; else they are only named.")
    ] = False,
) -> None:
    """Artifacts that no run uses any more: name them, and with --yes delete them.

    A run uses what its plan names. Run folders elsewhere are not known of unless named.
    """
    with clear_errors():
        from ddspec.engine.maintenance.garbage import DAY, remove, run_folders, unused, used_by
        from ddspec.engine.store.store import Store

        kept_store = Store(store)
        places = runs or [DEFAULT_RUNS]
        folders = run_folders(places)
        if not folders:
            named = ", ".join(map(str, places))
            fail(f"no run folder in {named}", "--runs says where they lie", WRONG_USAGE)
        gone = unused(kept_store, used_by(folders), days * DAY)
        for one in gone:
            print(f"{one.kind}/{one.digest}.h5  {size(one.bytes)}")
        total = size(sum(one.bytes for one in gone))
        seen = f"no run folder of {len(folders)} uses them"
        if not yes:
            print(f"{len(gone)} artifacts, {total}: {seen}; --yes deletes them")
            return
        remove(kept_store, gone)
        print(f"{len(gone)} artifacts, {total} deleted: {seen}")


def import_experts(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="replay_buffer_*.pt files.", show_default=False),
    ],
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Take the field's replay buffers as experts; prints what a spec says to use them.

    Tensors alone are read. The set is named by its content, in the order of the files.
    """
    with clear_errors():
        from ddspec.engine.exchange.replay_buffers import UNKNOWN, import_buffers
        from ddspec.engine.store.store import Store

        found = import_buffers(files, Store(store))
    complain("not known of these experts, and said so in every record:")
    for unknown in UNKNOWN:
        complain(f"  {unknown}")
    print("[experts]")
    print(f'imported = "{found.name}"')
    print(f"count = {found.count}")
    print(f"epochs = {found.epochs}")


def doctor(store: StoreFolder = DEFAULT_STORE, data: Data = None) -> None:
    """Is this machine fit? Versions, device, memory, disk, locks, and which datasets are there."""
    with clear_errors():
        from ddspec.engine.maintenance.doctor import examine

        found = examine(store, data)
        for one in found:
            print(f"{'ok  ' if one.fine else 'no  '}{one.what}: {one.said}")
    if not all(one.fine for one in found if one.needed):
        raise typer.Exit(UNFIT)


def status(
    folder: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    as_machine: Json = False,
) -> None:
    """How far is it? From another shell, while it runs."""
    with clear_errors():
        found = standing(folder)
        if as_machine:
            print(json.dumps(found, indent=1))
            return
        rows = [("step", "done", "left", "at")]
        for step in found["steps"]:
            left = step["seconds_left"]
            done = f"{step['done']}/{step['total']}" if step["total"] else "-"
            rows.append((step["id"], done, span(left) if left else "-", step["time"] or "-"))
        print("\n".join(columns(rows)))
        print(found["said"])


def standing(folder: Path) -> dict[str, Any]:
    """What plan, events and record of a run folder say of how far it is."""
    from ddspec.dsl.plan.steps import Plan
    from ddspec.dsl.record.record import Record
    from ddspec.reports.files import read_document

    plan = read_document(folder, "plan.json", Plan, "a run folder has one as soon as it runs")
    events = latest_events(folder / "events.jsonl")
    steps = [
        {
            "id": step.id,
            "done": events.get(step.id, {}).get("done"),
            "total": events.get(step.id, {}).get("total"),
            "seconds_left": events.get(step.id, {}).get("seconds_left"),
            "time": events.get(step.id, {}).get("time"),
        }
        for step in plan.steps
    ]
    newest = max((path.stat().st_mtime for path in folder.glob("events.jsonl")), default=0.0)
    record = folder / "record.json"
    if record.exists() and record.stat().st_mtime >= newest:
        outcome = read_document(folder, "record.json", Record, "run it again").outcome
        cause = f": {outcome.cause}" if outcome.cause else ""
        return {"steps": steps, "ended": outcome.status, "said": f"{outcome.status}{cause}"}
    quiet = time.time() - newest
    said = f"last heard of {span(quiet)} ago" if newest else "nothing was heard of it yet"
    return {"steps": steps, "ended": None, "said": said}


class Event(BaseModel):
    """A line of events.jsonl, as far as it is read here."""

    step: str
    time: str
    done: int
    total: int
    seconds_left: float | None


def latest_events(path: Path) -> dict[str, dict[str, Any]]:
    """The last event of each step; lines that are half written are passed over."""
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            event = Event.model_validate_json(line)
        except ValidationError:
            continue
        found[event.step] = event.model_dump()
    return found
