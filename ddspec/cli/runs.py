"""Commands on finished runs: look at them, set them side by side, do them again, hand them on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ddspec.api import DEFAULT_REPRODUCTIONS, DEFAULT_STORE
from ddspec.cli.errors import NOT_REPRODUCED, UNFIT, WRONG_USAGE, clear_errors, complain, fail
from ddspec.cli.options import Data, DeviceName, StoreFolder
from ddspec.dsl.terms import ExportForm

if TYPE_CHECKING:
    from ddspec.engine.control import Control


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="The folder of a run or of a sweep; with --index that of all runs.",
            show_default=False,
        ),
    ],
    index: Annotated[
        bool, typer.Option("--index", help="List all runs in the folder, in one page.")
    ] = False,
    assets: Annotated[
        bool,
        typer.Option(
            "--assets",
            help="Put all pictures of a run into files beside its page, however many they are.",
        ),
    ] = False,
) -> None:
    """Render the page of a run, or of a sweep, again; or one that lists all runs."""
    with clear_errors():
        from ddspec.dsl.record.sweep import SWEEP_JSON
        from ddspec.reports.pages.index import render_index
        from ddspec.reports.pages.run import render_run
        from ddspec.reports.pages.sweep import render_sweep

        if index:
            print(render_index(folder))
        elif (folder / SWEEP_JSON).exists():
            print(render_sweep(folder))
        else:
            print(render_run(folder, assets))


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, two or more.", show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Where the page goes.")] = Path(
        "compare.html"
    ),
) -> None:
    """One page of several runs: what differs between their specs, and what came of it."""
    with clear_errors():
        from ddspec.reports.pages.compare import render_compare

        print(render_compare(folders, to))


def reproduce(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RECORD|REPORT|SPEC",
            help="A record.json, a report.html alone, or a spec with [[expect]].",
            show_default=False,
        ),
    ],
    data: Data = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", help="Reuse what lies here; else a fresh store."),
    ] = None,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where run, store and page go.")
    ] = DEFAULT_REPRODUCTIONS,
    device: DeviceName = None,
) -> None:
    """Do it again and compare every number: PASS, FAIL or NOT COMPARABLE, each with its reason.

    Ends with exit code 0 for PASS, 4 for FAIL, 5 where nothing could be compared.
    """
    with clear_errors("everything finished so far is kept; the same command goes on"):
        from ddspec import reproduction
        from ddspec.cli.progress import Reporter
        from ddspec.engine.control import Control, Interrupted

        @contextmanager
        def watching(folder: Path) -> "Iterator[Control]":
            with Reporter(folder / "events.jsonl") as reporter:
                yield Control(report=reporter, say=reporter.tell)

        try:
            done = reproduction.reproduce(
                source, data=data, store=store, to=to, device=device, watching=watching
            )
        except Interrupted as stopped:
            complain(str(stopped))
            raise typer.Exit(stopped.exit_code) from None
    found = done.reproduction
    for one in found.numbers:
        print(f"{one.verdict}: {one.what}: {one.reason}")
    for reason in found.may_differ:
        complain(f"bits may differ: {reason}")
    if found.reused:
        complain(f"found in the given store, and not made again: {', '.join(found.reused)}")
    print(f"page {done.page}")
    print(found.verdict)
    if found.verdict != "PASS":
        raise typer.Exit(NOT_REPRODUCED if found.verdict == "FAIL" else UNFIT)


def verify(
    folder: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    device: DeviceName = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate/--no-evaluate", help="Train networks anew on synthetic.h5 alone."),
    ] = True,
) -> None:
    """Is it what it says? Files, digests, artifacts, numbers; the accuracy out of synthetic.h5.

    Ends with exit code 4 where anything is not. What lies in no store is said to be unchecked.
    """
    with clear_errors():
        from ddspec.verification import verify as findings

        faults, unchecked = 0, 0
        for one in findings(folder, store=store, data=data, device=device, evaluate=evaluate):
            faults += one.verdict == "fault"
            unchecked += one.verdict == "not checked"
            print(f"{one.verdict}: {one.what}" + (f": {one.detail}" if one.detail else ""))
        gap = f"; {unchecked} not checked" if unchecked else ""
        said = f"{faults} fault{'' if faults == 1 else 's'}" if faults else "no fault found"
        print(f"{said}{gap}" if faults or unchecked else "verified")
    if faults:
        raise typer.Exit(NOT_REPRODUCED)


def export(
    folder: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where to; else exports/RUN.")
    ] = None,
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="|".join(get_args(ExportForm)),
            help="In which form; may be repeated. Else in all of them.",
        ),
    ] = None,
) -> None:
    """The synthetic set as images, npz, HDF5 and the field's .pt pair, with a card on its use."""
    known: tuple[ExportForm, ...] = get_args(ExportForm)
    unknown = [form for form in forms or () if form not in known]
    if unknown:
        fail(f"{unknown[0]!r} is no form", f"there are {', '.join(known)}", WRONG_USAGE)
    with clear_errors():
        from ddspec.engine.exchange.export import export as write
        from ddspec.reports.pages.run import read_record

        target = to or Path("exports") / folder.resolve().name
        wanted = tuple(form for form in known if not forms or form in forms)
        for path in write(folder, read_record(folder), target, wanted):
            print(path)
