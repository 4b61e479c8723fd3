"""Commands on store and machine: what lies there, what is whole, what can go, what is missing."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE
from ddspec.cli.errors import NOT_REPRODUCED, UNFIT, WRONG_USAGE, exit_on_error, fail, print_stderr
from ddspec.cli.options import DataFolder, JsonOutput, StoreFolder
from ddspec.cli.plan_text import columns
from ddspec.reports.format import plain_size

store_app = typer.Typer(
    name="store",
    help="What lies in the store: list it, verify it, remove what no run uses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@store_app.command("ls")
def store_ls_command(store: StoreFolder = DEFAULT_STORE, as_machine: JsonOutput = False) -> None:
    """How many artifacts of each kind, and how large they are."""
    with exit_on_error():
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
                table.append((kind, str(len(own)), plain_size(sum(own))))
        table.append(("all", str(len(found)), plain_size(sum(one.bytes for one in found))))
        print("\n".join(columns(table)))


@store_app.command("verify")
def store_verify_command(store: StoreFolder = DEFAULT_STORE) -> None:
    """Read every artifact whole, against the checksums that it was written with."""
    with exit_on_error():
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
        print_stderr("  = hint: delete the files named above; the next run makes them again")
        raise typer.Exit(NOT_REPRODUCED)


@store_app.command("gc")
def store_gc_command(
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
    with exit_on_error():
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
            print(f"{one.kind}/{one.digest}.h5  {plain_size(one.bytes)}")
        total = plain_size(sum(one.bytes for one in gone))
        seen = f"no run folder of {len(folders)} uses them"
        if not yes:
            print(f"{len(gone)} artifacts, {total}: {seen}; --yes deletes them")
            return
        remove(kept_store, gone)
        print(f"{len(gone)} artifacts, {total} deleted: {seen}")


def import_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="replay_buffer_*.pt files.", show_default=False),
    ],
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Take the field's replay buffers as experts; prints what a spec says to use them.

    Tensors alone are read. The set is named by its content, in the order of the files.
    """
    with exit_on_error():
        from ddspec.engine.exchange.replay_buffers import UNKNOWN, import_buffers
        from ddspec.engine.store.store import Store

        found = import_buffers(files, Store(store))
    print_stderr("not known of these experts, and said so in every record:")
    for unknown in UNKNOWN:
        print_stderr(f"  {unknown}")
    print("[experts]")
    print(f'imported = "{found.name}"')
    print(f"count = {found.count}")
    print(f"epochs = {found.epochs}")


def doctor_command(store: StoreFolder = DEFAULT_STORE, data: DataFolder = None) -> None:
    """Is this machine fit? Versions, device, memory, disk, locks, and which datasets are there."""
    with exit_on_error():
        from ddspec.engine.maintenance.doctor import examine

        found = examine(store, data)
        for one in found:
            print(f"{'ok  ' if one.fine else 'no  '}{one.what}: {one.said}")
    if not all(one.fine for one in found if one.needed):
        raise typer.Exit(UNFIT)
