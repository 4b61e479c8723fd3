"""The command line: the app, the commands on specs, and the table of all others.

Results go to stdout, progress and messages to stderr. `errors.py` lists the exit codes.
Commands import torch, h5py and the reports only when they need them, so that
`ddspec check` answers in a fraction of a second.
"""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE, CompileOptions
from ddspec.cli import runs as run_commands
from ddspec.cli import store as store_commands
from ddspec.cli.errors import INVALID_SPEC, WRONG_USAGE, exit_on_error, fail
from ddspec.cli.options import (
    DataFolder,
    DeviceName,
    JsonOutput,
    Overrides,
    PreviewFlag,
    RunsFolder,
    SaveEvery,
    SpecArgument,
    StoreFolder,
)
from ddspec.cli.printing import (
    print_json,
    print_line,
    print_lines,
    print_path,
    print_stderr,
    print_stderr_text,
    print_text,
)
from ddspec.cli.work import work_command
from ddspec.dsl.diagnostics import Diagnostic, SpecError, diagnostic_json, render_diagnostics
from ddspec.dsl.record.file_names import EVENTS_JSONL
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.terms import DatasetName, Device, Protocol

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


@app.command("check")
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
        print_text(render_diagnostics(diagnostics))
    if errors:
        plural = "s" if errors > 1 else ""
        print_stderr_text(f"\n{errors} error{plural}; run ddspec explain CODE for details")
        raise typer.Exit(INVALID_SPEC)
    if not as_machine:
        print_line(f"{', '.join(checked_specs)}: no errors")


@app.command("plan")
def plan_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    data: DataFolder = None,
    store: StoreFolder = DEFAULT_STORE,
    device: DeviceName = None,
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
    than this machine has.
    """
    from ddspec.api import check_fits
    from ddspec.cli.plan_text import plan_json, plan_lines, sweep_json, sweep_lines
    from ddspec.cli.work import print_tasks

    with exit_on_error():
        options = compile_options(data, store, device, preview, fetch=False)
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
            check_fits(steps)


@app.command("run")
def run_command(
    spec: SpecArgument,
    overrides: Overrides = None,
    data: DataFolder = None,
    store: StoreFolder = DEFAULT_STORE,
    runs: RunsFolder = DEFAULT_RUNS,
    device: DeviceName = None,
    preview: PreviewFlag = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Compute again what diverged before.")
    ] = False,
    save_every: SaveEvery = 30.0,
    stop_on_failure: Annotated[
        bool,
        typer.Option("--stop-on-failure", help="End a sweep after the first run that fails."),
    ] = False,
) -> None:
    """Run a spec, reusing all artifacts in the store.

    The last line of stdout is the run folder. A spec with [sweep] runs every
    combination; the last line is then the sweep's folder.
    """
    with exit_on_error("everything finished so far is kept; the same command continues"):
        options = compile_options(data, store, device, preview, fetch=True)
        compiled = compile_any(spec, overrides, options)
        from ddspec import api
        from ddspec.cli.outcome_text import print_run, print_sweep, run_label
        from ddspec.cli.plan_text import images_text
        from ddspec.cli.progress import Reporter
        from ddspec.engine.control import Control, Interrupted
        from ddspec.sweeps import CompiledSweep, run_sweep

        @contextmanager
        def watching(member: "CompiledSpec") -> "Iterator[Control]":
            if isinstance(compiled, CompiledSweep):
                print_stderr(f"-- {member.plan.folder}: {run_label(compiled, member)}")
            print_stderr(f"read: {images_text(member)}")
            with Reporter(runs / member.plan.folder / EVENTS_JSONL) as reporter:
                yield Control(report=reporter, say=reporter.tell, save_every=save_every)

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


@app.command("new")
def new_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of a shipped spec; without it, all are listed."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="File to write; default: NAME.toml."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Write a spec for this folder of images, fitted to what is in it.",
        ),
    ] = None,
    for_set: Annotated[
        str | None,
        typer.Option(
            "--for-set",
            metavar="HASH",
            help="Write a spec that evaluates this set, which ddspec import printed.",
        ),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option("--dataset", help="With --for-set: the dataset that the set was made for."),
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="With --for-set: how networks are trained.")
    ] = "mtt",
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Copy a shipped spec, write one for your own images or for a set, or list them all."""
    from ddspec.cli.plan_text import columns
    from ddspec.dsl.atomic_write import write_text
    from ddspec.shipped import copy_of, listing_rows, shipped

    specs = shipped()
    if sum(given is not None for given in (name, images, for_set)) > 1:
        fail(
            "more than one of a shipped spec, --images and --for-set was given",
            "give one of them",
            WRONG_USAGE,
        )
    if name is not None and name not in specs:
        fail(f"no shipped spec is named {name!r}", "ddspec new lists all of them", WRONG_USAGE)
    if name is not None:
        target = to or Path(f"{name.rpartition('/')[2]}.toml")
    elif images is not None:
        target = to or Path(f"{resolved(images).name}.toml")
    elif for_set is not None:
        target = to or Path(f"set_{for_set[:8]}.toml")
    else:
        print_lines(columns(listing_rows(specs.values())))
        return
    if target.exists() or target.is_symlink():
        fail(f"{target} already exists", "give another file by --to", WRONG_USAGE)
    with exit_on_error():
        if images is not None:
            from ddspec.image_specs import spec_for_images

            write_text(target, spec_for_images(resolved(images)))
            begin = shlex.join(
                ["ddspec", "run", str(target), "--preview", "--data", str(images.parent)]
            )
            print_stderr(f"begin with: {begin}")
        elif for_set is not None:
            from ddspec.set_specs import spec_for_stored_set

            write_text(target, spec_for_stored_set(for_set, dataset, protocol, store))
        elif name is not None:
            write_text(target, copy_of(specs[name]))
        print_path(target)


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of specs, for use in editors."""
    from ddspec.dsl.reference.schema import json_schema

    print_json(json_schema(), indent=2)


@app.command("explain")
def explain_command(
    subject: Annotated[
        str,
        typer.Argument(metavar="CODE|KEY", help="For example syn_steps.", show_default=False),
    ],
) -> None:
    """Explain an error code, a key or a table of the language."""
    from ddspec.dsl.reference.explain import explain, near

    explanation = explain(subject)
    if explanation is None:
        similar = ", ".join(near(subject))
        hint = f"similar: {similar}" if similar else ""
        fail(f"{subject!r} is neither an error code nor a key", hint, WRONG_USAGE)
    print_text(explanation)


OTHER_COMMANDS: dict[str, Callable[..., None]] = {
    "report": run_commands.report_command,
    "compare": run_commands.compare_command,
    "reproduce": run_commands.reproduce_command,
    "verify": run_commands.verify_command,
    "export": run_commands.export_command,
    "status": run_commands.status_command,
    "work": work_command,
    "doctor": store_commands.doctor_command,
    "import": store_commands.import_command,
}
for command_name, command in OTHER_COMMANDS.items():
    app.command(command_name)(command)
app.add_typer(store_commands.store_app, name="store")


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
        from ddspec.engine.machine.environment import ddspec_version

        print_line(f"ddspec {ddspec_version()}")
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
