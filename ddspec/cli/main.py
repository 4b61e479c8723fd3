"""The command line: the app, the commands on specs, and the table of all others.

Results go to stdout, progress and messages to stderr. `errors.py` lists the exit codes.
Commands import torch, h5py and the reports only when they need them, so that
`ddspec check` answers in a fraction of a second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated

import typer

import ddspec
from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE, CompileOptions
from ddspec.cli import language as language_commands
from ddspec.cli import runs as run_commands
from ddspec.cli import store as store_commands
from ddspec.cli.diff import diff_command
from ddspec.cli.errors import INVALID_SPEC, WRONG_USAGE, exit_on_error, fail
from ddspec.cli.list_runs import runs_command
from ddspec.cli.options import (
    AssumedName,
    DataFolder,
    DeviceName,
    JsonOutput,
    Overrides,
    PreviewFlag,
    Retry,
    RunsFolder,
    SaveEvery,
    SpecArgument,
    StopOnFailure,
    StoreFolder,
    Trackers,
    trackers_of,
)
from ddspec.cli.printing import (
    print_diagnostics,
    print_json,
    print_line,
    print_lines,
    print_stderr,
    print_stderr_text,
)
from ddspec.cli.progress.status import status_command
from ddspec.cli.usage import Command, WatchCommand
from ddspec.cli.work import work_command
from ddspec.dsl.diagnostics import Diagnostic, SpecError, diagnostic_json, render_diagnostics
from ddspec.dsl.terms import Device
from ddspec.trackers.followers import following

if TYPE_CHECKING:
    from ddspec.api import CompiledSpec
    from ddspec.engine.control import Control
    from ddspec.sweeps import CompiledSweep

app = typer.Typer(
    name="ddspec",
    help="Run a dataset-distillation experiment from one TOML spec and write an HTML report.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="First steps: ddspec new digits_ipc1, ddspec check digits_ipc1.toml, "
    "ddspec run digits_ipc1.toml",
)


@app.command("check", cls=Command)
def check_command(
    specs: Annotated[
        list[Path],
        typer.Argument(metavar="SPEC", help="Specs, TOML files.", show_default=False),
    ],
    overrides: Overrides = None,
    as_machine: JsonOutput = False,
) -> None:
    """Check specs and print every mistake at once, with a fix."""
    from ddspec.dsl.parsing.loader import LoadedSweep, load_spec_or_sweep

    diagnostics: list[Diagnostic] = []
    checked_specs: list[str] = []
    for path in specs:
        try:
            loaded = load_spec_or_sweep(path, overrides or ())
        except SpecError as error:
            diagnostics += error.diagnostics
            continue
        if isinstance(loaded, LoadedSweep):
            runs = [member.loaded for member in loaded.members]
            checked_specs.append(f"{path.name} ({len(runs)} runs)")
        else:
            runs = [loaded]
            checked_specs.append(path.name)
        # Runs of a sweep share most warnings: print each once.
        diagnostics += dict.fromkeys(warning for run in runs for warning in run.warnings)
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    if as_machine:
        print_json([diagnostic_json(diagnostic) for diagnostic in diagnostics], indent=1)
    elif diagnostics:
        print_diagnostics(render_diagnostics(diagnostics))
    if errors:
        plural = "s" if errors > 1 else ""
        print_stderr_text(f"\n{errors} error{plural}; run ddspec explain CODE for details")
        raise typer.Exit(INVALID_SPEC)
    if not as_machine:
        print_line(f"{', '.join(checked_specs)}: no errors")


@app.command("plan", cls=Command)
def plan_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    data: DataFolder = None,
    store: StoreFolder = DEFAULT_STORE,
    device: DeviceName = None,
    assume: AssumedName = None,
    preview: PreviewFlag = False,
    tasks: Annotated[
        bool,
        typer.Option(
            "--tasks",
            help="List the missing tasks, one per line; with --json as `ddspec work` takes them.",
        ),
    ] = False,
    as_machine: JsonOutput = False,
) -> None:
    """Show which steps would run, why, and at what cost.

    Steps whose artifacts are in the store are reused. If the images are missing, the
    plan says what is unknown without them. For a sweep, every run is listed, and work
    that runs share is counted once. The exit code is 5 if a step needs far more memory
    than this machine has, or the GPU given by --assume.
    """
    from ddspec.api import check_fits
    from ddspec.cli.texts.plan import plan_json, plan_lines, sweep_json, sweep_lines
    from ddspec.cli.work import print_tasks

    if assume is not None and (tasks or device == "cpu"):
        fail(
            "--assume estimates the costs of a GPU that need not be here",
            "leave --tasks and --device cpu out",
            WRONG_USAGE,
        )
    with exit_on_error():
        options = compile_options(data, store, device, preview, fetch=False)
        options["assume"] = assume
        compiled = compile_any(spec, overrides, options)
        from ddspec.engine.run.status import step_states
        from ddspec.engine.store.store import Store
        from ddspec.sweeps import CompiledSweep

        artifacts = Store(store)
        if tasks:
            print_tasks(compiled, artifacts, as_machine)
            return  # Other machines may perform them.
        if isinstance(compiled, CompiledSweep):
            states = [step_states(member.plan, artifacts) for member in compiled.plans]
            if as_machine:
                print_json(sweep_json(compiled, states), indent=1)
            else:
                print_lines(sweep_lines(compiled, states))
        else:
            steps = step_states(compiled.plan, artifacts)
            states = [steps]
            if as_machine:
                print_json(plan_json(compiled, steps), indent=1)
            else:
                print_lines(plan_lines(compiled, steps))
        for steps in states:
            check_fits(steps, assume)


@app.command("run", cls=Command)
def run_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    data: DataFolder = None,
    store: StoreFolder = DEFAULT_STORE,
    runs: RunsFolder = DEFAULT_RUNS,
    device: DeviceName = None,
    preview: PreviewFlag = False,
    retry: Retry = False,
    save_every: SaveEvery = 30.0,
    stop_on_failure: StopOnFailure = False,
    log: Trackers = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Show no progress; run.log has it all the same."),
    ] = False,
) -> None:
    """Run a spec or a sweep, reusing the store.

    Begins with what will happen and how long it takes. Ctrl-C is safe: the same command
    continues. The last line of stdout is the run folder; for a spec with [sweep], which
    runs every combination, the sweep's folder.
    """
    with exit_on_error("everything finished so far is kept; the same command continues"):
        trackers = trackers_of(log)
        options = compile_options(data, store, device, preview, fetch=True)
        with said_if_slow("" if quiet else "preparing: images, speed of this machine, plan"):
            compiled = compile_any(spec, overrides, options)
        from ddspec import api
        from ddspec.cli.progress.reporter import Reporter
        from ddspec.cli.texts.outcome import print_run, print_sweep, run_label
        from ddspec.cli.texts.plan import images_text, run_head, seconds_left, sweep_head
        from ddspec.engine.control import Control, Interrupted
        from ddspec.engine.run.status import step_states
        from ddspec.engine.store.store import Store
        from ddspec.sweeps import CompiledSweep, run_sweep

        artifacts = Store(store)
        if isinstance(compiled, CompiledSweep) and not quiet:
            states = [step_states(member.plan, artifacts) for member in compiled.plans]
            print_stderr(sweep_head(compiled, states))

        @contextmanager
        def watching(member: "CompiledSpec") -> "Iterator[Control]":
            steps, folder = step_states(member.plan, artifacts), runs / member.plan.folder
            if not quiet:
                if isinstance(compiled, CompiledSweep):
                    print_stderr(run_label(compiled, member))
                print_stderr(run_head(member.plan, steps, folder))
                print_stderr(f"read: {images_text(member)}")
            estimated = {state.step.id: seconds_left(state) for state in steps if state.missing}
            with (
                Reporter(folder, estimated, quiet) as reporter,
                following(trackers, folder, reporter, reporter.tell) as report,
            ):
                yield Control(report=report, say=reporter.tell, save_every=save_every)

        try:
            if isinstance(compiled, CompiledSweep):
                sweep = run_sweep(
                    compiled,
                    runs=runs,
                    watching=watching,
                    retry=retry,
                    stop_on_failure=stop_on_failure,
                )
                print_sweep(sweep)
                return
            with watching(compiled) as control:
                run = api.run(compiled, runs=runs, control=control, retry=retry)
        except Interrupted as interruption:
            print_stderr(str(interruption))
            raise typer.Exit(interruption.exit_code) from None
    print_run(run)


OTHER_COMMANDS: dict[str, Callable[..., None]] = {
    "new": language_commands.new_command,
    "schema": language_commands.schema_command,
    "explain": language_commands.explain_command,
    "runs": runs_command,
    "report": run_commands.report_command,
    "compare": run_commands.compare_command,
    "diff": diff_command,
    "reproduce": run_commands.reproduce_command,
    "verify": run_commands.verify_command,
    "export": run_commands.export_command,
    "cite": run_commands.cite_command,
    "work": work_command,
    "doctor": store_commands.doctor_command,
    "import": store_commands.import_command,
}
for command_name, command in OTHER_COMMANDS.items():
    app.command(command_name, cls=Command)(command)
app.command("status", cls=WatchCommand)(status_command)
app.add_typer(store_commands.store_app, name="store")


SLOW_SECONDS = 1.5
"""Time after which preparations are named."""


@contextmanager
def said_if_slow(message: str) -> Iterator[None]:
    """Print a message on stderr if the block takes longer than a moment."""
    timer = Timer(SLOW_SECONDS, print_stderr, (message,))
    timer.daemon = True
    if message:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def compile_options(
    data: Path | None, store: Path, device: Device | None, preview: bool, *, fetch: bool
) -> CompileOptions:
    """Return the options of `api.compile`; without `fetch`, images may be missing."""
    return {
        "data": data,
        "store": store,
        "device": device,
        "preview": preview,
        "fetch": fetch,
        "without_data": not fetch,
    }


def compile_any(
    path: Path, overrides: list[str] | None, options: CompileOptions
) -> "CompiledSpec | CompiledSweep":
    """Load and compile a spec or a sweep, and print its warnings to stderr."""
    from ddspec import api
    from ddspec.dsl.parsing.loader import LoadedSweep, load_spec_or_sweep
    from ddspec.sweeps import compile_sweep

    loaded = load_spec_or_sweep(path, overrides or ())
    compiled: CompiledSpec | CompiledSweep
    if isinstance(loaded, LoadedSweep):
        compiled = compile_sweep(loaded, **options)
        plans = compiled.plans
    else:
        compiled = api.compile(loaded, **options)
        plans = (compiled,)
    warnings = dict.fromkeys(warning for plan in plans for warning in plan.loaded.warnings)
    if warnings:
        print_stderr_text(render_diagnostics(list(warnings)))
    return compiled


def print_version(wanted: bool) -> None:
    """Print the version and exit, if wanted."""
    if wanted:
        print_line(f"ddspec {ddspec.__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Declare the options that stand before a command."""
