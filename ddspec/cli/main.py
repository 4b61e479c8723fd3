"""The command line.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 the run failed or
diverged, 2 wrong usage, 3 the spec is at fault, 5 data missing or environment unfit, 130 and 143
interrupted with everything kept.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE
from ddspec.cli import runs as finished
from ddspec.cli import store as upkeep
from ddspec.cli.errors import (
    RUN_FAILED,
    SPEC_AT_FAULT,
    WRONG_USAGE,
    clear_errors,
    complain,
    fail,
)
from ddspec.cli.options import (
    Data,
    DeviceName,
    Json,
    Overrides,
    Preview,
    RunsFolder,
    Spec,
    StoreFolder,
)
from ddspec.dsl.diagnostics import Diagnostic, SpecError, as_json, render
from ddspec.dsl.terms import Device

if TYPE_CHECKING:
    from ddspec.api import CompiledSpec, Run
    from ddspec.engine.control import Control
    from ddspec.sweeps import CompiledSweep, SweepRun

app = typer.Typer(
    name="ddspec",
    help="One TOML spec in, a reproduced dataset-distillation experiment and a report out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="First steps: ddspec new digits_ipc1, ddspec check digits_ipc1.toml, "
    "ddspec run digits_ipc1.toml",
)


@app.command()
def check(
    specs: Annotated[list[Path], typer.Argument(help="Specs, TOML files.", show_default=False)],
    overrides: Overrides = None,
    as_machine: Json = False,
) -> None:
    """Is it right? Says every mistake at once, with its place and the way out."""
    from ddspec.dsl.parsing.loader import LoadedSweep, load_any

    found: list[Diagnostic] = []
    named: list[str] = []
    for path in specs:
        try:
            loaded = load_any(path, overrides or ())
        except SpecError as error:
            found += error.diagnostics
            continue
        if isinstance(loaded, LoadedSweep):
            runs = [member.loaded for member in loaded.members]
            named.append(f"{path.name} ({len(runs)} runs)")
        else:
            runs = [loaded]
            named.append(path.name)
        found += dict.fromkeys(warning for run in runs for warning in run.warnings)
    errors = sum(said.severity == "error" for said in found)
    if as_machine:
        print(json.dumps([as_json(said) for said in found], indent=1))
    elif found:
        print(render(found))
    if errors:
        complain(f"\n{errors} error{'s' if errors > 1 else ''}; ddspec explain CODE says more")
        raise typer.Exit(SPEC_AT_FAULT)
    if not as_machine:
        print(f"{', '.join(named)}: no errors")


@app.command()
def plan(
    spec: Spec,
    overrides: Overrides = None,
    data: Data = None,
    store: StoreFolder = DEFAULT_STORE,
    device: DeviceName = None,
    preview: Preview = False,
    as_machine: Json = False,
) -> None:
    """What would run, what is reused, and why; with estimated time, memory and disk.

    Where the images are not there, it says what cannot be known without them. Of a sweep: every
    run, and the whole, with what runs share counted once.
    """
    from ddspec.cli.plan_text import plan_json, plan_text, sweep_json, sweep_text

    with clear_errors():
        compiled = compiled_any(spec, overrides, data, store, device, preview, fetch=False)
        from ddspec.engine.run.status import survey
        from ddspec.engine.store.store import Store
        from ddspec.sweeps import CompiledSweep

        kept = Store(store)
        if isinstance(compiled, CompiledSweep):
            surveys = [survey(one.plan, kept) for one in compiled.plans]
            print(
                json.dumps(sweep_json(compiled, surveys), indent=1)
                if as_machine
                else sweep_text(compiled, surveys)
            )
        else:
            standings = survey(compiled.plan, kept)
            print(
                json.dumps(plan_json(compiled, standings), indent=1)
                if as_machine
                else plan_text(compiled, standings)
            )


@app.command()
def run(
    spec: Spec,
    overrides: Overrides = None,
    data: Data = None,
    store: StoreFolder = DEFAULT_STORE,
    runs: RunsFolder = DEFAULT_RUNS,
    device: DeviceName = None,
    preview: Preview = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what diverged.")] = False,
    save_every: Annotated[
        float, typer.Option("--save-every", metavar="SECONDS", min=0, help="Between checkpoints.")
    ] = 30.0,
    stop_on_failure: Annotated[
        bool,
        typer.Option("--stop-on-failure", help="Of a sweep: begin no run after one that fails."),
    ] = False,
) -> None:
    """Do it, reusing everything that is there; the last line is the run folder.

    A spec with [sweep] stands for several runs; the last line is then the sweep's folder.
    """
    with clear_errors("everything finished so far is kept; the same command goes on"):
        compiled = compiled_any(spec, overrides, data, store, device, preview, fetch=True)
        from ddspec import api
        from ddspec.cli.progress import Reporter
        from ddspec.engine.control import Control, Interrupted
        from ddspec.sweeps import CompiledSweep, run_sweep

        @contextmanager
        def watching(one: "CompiledSpec") -> "Iterator[Control]":
            if isinstance(compiled, CompiledSweep):
                complain(f"-- {one.plan.folder}: {label_of(compiled, one)}")
            with Reporter(runs / one.plan.folder / "events.jsonl") as reporter:
                yield Control(report=reporter, say=reporter.tell, save_every=save_every)

        try:
            if isinstance(compiled, CompiledSweep):
                swept = run_sweep(
                    compiled,
                    runs=runs,
                    watching=watching,
                    retry=retry,
                    stop_on_failure=stop_on_failure,
                )
                say_sweep(swept)
                return
            with watching(compiled) as control:
                finished = api.run(compiled, runs=runs, control=control, retry=retry)
        except Interrupted as stopped:
            complain(str(stopped))
            raise typer.Exit(stopped.exit_code) from None
    say_run(finished)


def label_of(sweep: "CompiledSweep", one: "CompiledSpec") -> str:
    """What a run of a sweep is called there."""
    return next(member.combination.label for member, plan in sweep.members if plan is one)


def say_sweep(swept: "SweepRun") -> None:
    """Every run of a sweep in a line, and where its page lies."""
    for one in swept.record.runs:
        found = f"{one.accuracy.mean:.2f} +- {one.accuracy.std:.2f} %" if one.accuracy else ""
        cause = f": {one.cause}" if one.cause else ""
        print(f"{one.label}: {found or one.status}{cause}")
    print(f"report {swept.report}")
    print(swept.folder)
    if any(one.status != "done" for one in swept.record.runs):
        raise typer.Exit(RUN_FAILED)


def say_run(finished: "Run") -> None:
    """What came of a run, and where its page lies."""
    outcome, accuracy = finished.record.outcome, finished.record.results.accuracy
    if accuracy is not None:
        print(f"accuracy {accuracy.mean:.2f} +- {accuracy.std:.2f} % (n = {accuracy.n}, ", end="")
        print(f"{accuracy.network}, {accuracy.choose} at iteration {accuracy.iteration})")
        results = finished.record.results
        for what, baselines in (
            ("random real images", results.random_real),
            ("the same with expert labels", results.random_real_expert_labels),
            ("all real images", results.full_data),
        ):
            for baseline in baselines.values():
                print(f"{what} {baseline.mean:.2f} +- {baseline.std:.2f} %", end="")
                print(f" (n = {baseline.n}, {baseline.network})")
    if finished.record.plan.preview:
        print("a preview, shrunk to minutes: these numbers say nothing of the method")
    print(f"report {finished.report}")
    if outcome.status != "done":
        where = "" if outcome.iteration is None else f" at iteration {outcome.iteration}"
        complain(f"{outcome.status}{where}: {outcome.cause}\n  = hint: {outcome.advice}")
        complain("  = this outcome is kept; --retry runs it again")
    print(finished.folder)
    if outcome.status != "done":
        raise typer.Exit(RUN_FAILED)


def compiled_any(
    spec: Path,
    overrides: list[str] | None,
    data: Path | None,
    store: Path,
    device: Device | None,
    preview: bool,
    fetch: bool,
) -> "CompiledSpec | CompiledSweep":
    """Load and compile, showing warnings."""
    from ddspec import api
    from ddspec.dsl.parsing.loader import LoadedSweep, load_any
    from ddspec.sweeps import compile_sweep

    loaded = load_any(spec, overrides or ())
    options: api.CompileOptions = {
        "data": data,
        "store": store,
        "device": device,
        "fetch": fetch,
        "preview": preview,
        "without_data": not fetch,
    }
    if isinstance(loaded, LoadedSweep):
        sweep = compile_sweep(loaded, **options)
        plans: tuple[CompiledSpec, ...] = sweep.plans
    else:
        plans = (api.compile(loaded, **options),)
    warnings = dict.fromkeys(warning for plan in plans for warning in plan.loaded.warnings)
    if warnings:
        complain(render(list(warnings)))
    return sweep if isinstance(loaded, LoadedSweep) else plans[0]


@app.command()
def new(
    name: Annotated[str | None, typer.Argument(help="Which one.", show_default=False)] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where to; else NAME.toml.")] = None,
) -> None:
    """Start from a shipped spec: copy one, or list them all."""
    from ddspec.shipped import copy_of, listing, shipped

    found = shipped()
    if name is None:
        print(listing(list(found.values())))
        return
    if name not in found:
        fail(f"there is no shipped spec {name!r}", "ddspec new lists them", WRONG_USAGE)
    target = to or Path(f"{name.rpartition('/')[2]}.toml")
    if target.exists():
        fail(f"{target} is already there", "--to says where else", WRONG_USAGE)
    with clear_errors():
        target.write_text(copy_of(found[name]), encoding="utf-8")
        print(target)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the language, for completion in editors."""
    from ddspec.dsl.reference.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(metavar="CODE|KEY", help="For example syn_steps.")],
) -> None:
    """What a code of an error means, or a key or table of the language."""
    from ddspec.dsl.reference.explain import explain as explanation
    from ddspec.dsl.reference.explain import near

    said = explanation(subject)
    if said is None:
        close = ", ".join(near(subject))
        fail(f"{subject!r} is no code and no key", f"near: {close}" if close else "", WRONG_USAGE)
    print(said)


for command in (
    finished.report,
    finished.compare,
    finished.reproduce,
    finished.verify,
    finished.export,
    upkeep.doctor,
    upkeep.status,
):
    app.command()(command)
app.command("import")(upkeep.import_experts)
app.add_typer(upkeep.store_app)


def show_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        from importlib.metadata import version

        print(f"ddspec {version('ddspec')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Read by typer for the options before a command."""


def main() -> None:
    """Entry point of the console script."""
    run_app: Callable[[], Any] = app
    run_app()
