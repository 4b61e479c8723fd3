"""Commands on run folders: report, compare, reproduce, verify, export and cite."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ddspec.api import DEFAULT_REPRODUCTIONS, DEFAULT_STORE
from ddspec.cli.errors import (
    NOT_REPRODUCED,
    UNFIT,
    WRONG_USAGE,
    exit_on_error,
    fail,
)
from ddspec.cli.options import DataFolder, DeviceName, Overrides, RunFolder, StoreFolder
from ddspec.cli.printing import (
    print_line,
    print_path,
    print_stderr,
    print_text,
)
from ddspec.dsl.record.file_names import RESOLVED_TOML, SPEC_TOML
from ddspec.dsl.record.reproduction import NOT_COMPARED
from ddspec.functions.exchange import FORMS, RUN, SHARE, ExportName, export
from ddspec.functions.pages import compare, report
from ddspec.functions.pages import index as write_index

if TYPE_CHECKING:
    from ddspec.dsl.spec.experiment import Spec
    from ddspec.engine.control import Control


def report_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A run folder or a sweep's folder; for a list, the folder of all runs.",
            show_default=False,
        ),
    ],
    index: Annotated[
        bool, typer.Option("--index", help="List all runs in the folder on one page.")
    ] = False,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Write README.md of a folder of runs: published numbers beside theirs.",
        ),
    ] = False,
    headers: Annotated[
        Path | None,
        typer.Option(
            "--headers",
            metavar="SPECS",
            help="With --published, also write what was measured into the specs in this folder.",
        ),
    ] = None,
    assets: Annotated[
        bool,
        typer.Option("--assets", help="Write the images to files beside the page."),
    ] = False,
) -> None:
    """Render the page of a run or a sweep again, or a list of runs."""
    if index and published:
        fail("--index and --published are two lists", "give one of them", WRONG_USAGE)
    if headers is not None and not published:
        fail("--headers needs --published", "add --published", WRONG_USAGE)
    with exit_on_error():
        from ddspec.reports.pages.published import write_headers, write_published

        if index:
            print_path(write_index(folder))
        elif published:
            print_path(write_published(folder))
            for changed in write_headers(folder, headers) if headers else ():
                print_path(changed)
        else:
            print_path(report(folder, assets=assets))


def compare_command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Two or more run folders.", show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Page to write.")] = Path(
        "compare.html"
    ),
    board: Annotated[
        Path | None,
        typer.Option(
            "--leaderboard",
            metavar="FILE",
            help="Also write the leaderboard, as .md, .tex (booktabs) or .csv.",
        ),
    ] = None,
) -> None:
    """Compare several runs on one page.

    The page shows what differs between their specs, their results, curves, images and
    costs, and a leaderboard of their sets. Runs that used different data or evaluation
    protocols are not tested against each other.
    """
    with exit_on_error():
        if len(folders) < 2:
            fail("only one run was named", "name two or more run folders", WRONG_USAGE)
        print_path(compare(folders, to=to, leaderboard=board))
        if board is not None:
            print_path(board)


def reproduce_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RECORD|REPORT|SPEC",
            help="A record.json, a report.html, or a spec with [[expect]] tables.",
            show_default=False,
        ),
    ],
    data: DataFolder = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            help="Reuse the artifacts in this store; default: a fresh store.",
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder for run, store and page.")
    ] = DEFAULT_REPRODUCTIONS,
    device: DeviceName = None,
) -> None:
    """Run a shared experiment again and compare every number.

    Prints PASS, FAIL or NOT COMPARABLE for each number, with the reason. The exit code
    is 0 for PASS, 4 for FAIL, and 5 if nothing could be compared.
    """
    with exit_on_error("everything finished so far is kept; the same command continues"):
        from ddspec.cli.progress.reporter import Reporter
        from ddspec.engine.control import Control, Interrupted
        from ddspec.reproduction import reproduce

        @contextmanager
        def watching(folder: Path) -> "Iterator[Control]":
            with Reporter(folder) as reporter:
                yield Control(report=reporter, say=reporter.tell)

        try:
            result = reproduce(
                source, data=data, store=store, to=to, device=device, watching=watching
            )
        except Interrupted as interruption:
            print_stderr(str(interruption))
            raise typer.Exit(interruption.exit_code) from None
    reproduction = result.reproduction
    for number in reproduction.numbers:
        print_line(f"{number.verdict}: {number.what}: {number.reason}")
    for reason in reproduction.may_differ:
        print_stderr(f"bits may differ: {reason}")
    if reproduction.reused:
        steps = ", ".join(reproduction.reused)
        print_stderr(f"taken from the given store, not computed again: {steps}")
    if reproduction.origin != "spec":
        print_stderr(f"not compared: {NOT_COMPARED}")
    print_line(f"page {result.page}")
    print_line(reproduction.verdict)
    if reproduction.verdict != "PASS":
        raise typer.Exit(NOT_REPRODUCED if reproduction.verdict == "FAIL" else UNFIT)


def verify_command(
    folder: RunFolder,
    store: StoreFolder = DEFAULT_STORE,
    data: DataFolder = None,
    device: DeviceName = None,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate/--no-evaluate", help="Train networks again on synthetic.h5 alone."
        ),
    ] = True,
) -> None:
    """Check a run folder against its artifacts and its data.

    Checks files, digests, artifacts and numbers, and trains networks again on
    synthetic.h5. The exit code is 4 if anything is wrong. Artifacts that are not in the
    store are reported as not checked.
    """
    with exit_on_error():
        from ddspec.verification import verify

        faults, unchecked = 0, 0
        findings = verify(folder, store=store, data=data, device=device, evaluate=evaluate)
        for finding in findings:
            faults += finding.verdict == "fault"
            unchecked += finding.verdict == "not checked"
            detail = f": {finding.detail}" if finding.detail else ""
            print_line(f"{finding.verdict}: {finding.what}{detail}")
        counted = f"{faults} fault{'' if faults == 1 else 's'}" if faults else "no fault found"
        gap = f"; {unchecked} not checked" if unchecked else ""
        print_line(f"{counted}{gap}" if faults or unchecked else "verified")
    if faults:
        raise typer.Exit(NOT_REPRODUCED)


def export_command(
    folder: RunFolder,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder to write; default: exports/RUN."),
    ] = None,
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="|".join((*FORMS, SHARE, RUN)),
            help="Format to write; repeatable. Default: all but share and run, and pt only for "
            "labels that are classes or probabilities.",
        ),
    ] = None,
) -> None:
    """Export the synthetic set of a run to other formats.

    Writes images, npz, HDF5 and the pair of .pt files that public code reads, with a
    data card. With `--as share` also the set and a spec that evaluates it, for others.
    `--as run`, alone, copies the run folder without large files that the data give again;
    `ddspec verify` accepts the copy.
    """
    names = [*FORMS, SHARE, RUN]
    unknown = [form for form in forms or () if form not in names]
    if unknown:
        fail(
            f"{unknown[0]!r} is not an export format", f"use one of {', '.join(names)}", WRONG_USAGE
        )
    if RUN in (forms or ()) and len(set(forms or ())) > 1:
        fail(
            "--as run cannot be combined with other formats",
            "export the other formats to another folder",
            WRONG_USAGE,
        )
    with exit_on_error():
        for path in export(folder, to=to, forms=cast(Sequence[ExportName], forms or ())):
            print_path(path)


def cite_command(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC", help="A spec, a run folder or a sweep's folder.", show_default=False
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Print BibTeX of the methods and datasets that a spec uses.

    A comment above each entry names the settings that come from it.
    """
    with exit_on_error():
        from ddspec.dsl.reference.citations import bibliography
        from ddspec.engine.machine.environment import ddspec_version

        if overrides and (spec / RESOLVED_TOML).exists():
            fail(f"{spec} is a run, which --set cannot change", "name its spec", WRONG_USAGE)
        print_text(bibliography(cited_specs(spec, overrides or ()), ddspec_version()))


def cited_specs(path: Path, overrides: Sequence[str]) -> "list[Spec]":
    """Return every spec of a file, a run folder or the folder of a sweep."""
    from ddspec.dsl.parsing.loader import (
        LoadedSweep,
        load_spec_or_sweep,
        parse_resolved,
        read_spec_text,
    )

    of_run = path / RESOLVED_TOML
    if of_run.exists():
        return [parse_resolved(read_spec_text(of_run), of_run.as_posix()).spec]
    loaded = load_spec_or_sweep(path / SPEC_TOML if path.is_dir() else path, overrides)
    if isinstance(loaded, LoadedSweep):
        return [member.loaded.spec for member in loaded.members]
    return [loaded.spec]
