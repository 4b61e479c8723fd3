"""Tasks for schedulers: the list that `ddspec plan --tasks` prints, and `ddspec work`."""

from typing import TYPE_CHECKING, Annotated

import typer

from ddspec.api import DEFAULT_STORE, CompiledSpec
from ddspec.cli.errors import RUN_FAILED, exit_on_error
from ddspec.cli.options import SaveEvery, StoreFolder
from ddspec.cli.printing import print_json, print_lines, print_stderr
from ddspec.cli.texts.columns import columns
from ddspec.dsl.diagnostics import DataMissing

if TYPE_CHECKING:
    from ddspec.engine.store.store import Store
    from ddspec.engine.tasks.tasks import Need, Task
    from ddspec.sweeps import CompiledSweep


def print_tasks(compiled: "CompiledSpec | CompiledSweep", store: "Store", as_json: bool) -> None:
    """Print the missing tasks, one per line; keep their plans in the store for `ddspec work`.

    Raises DataMissing if the images were not read.
    """
    from ddspec.engine.store.kept_plans import keep_plan
    from ddspec.engine.tasks.tasks import tasks_of

    runs = [compiled] if isinstance(compiled, CompiledSpec) else list(compiled.plans)
    for run in runs:
        if run.unread:
            raise DataMissing(run.unread)
        keep_plan(run.plan, store)
    tasks = tasks_of([run.plan for run in runs], store)
    if as_json:
        for task in tasks:
            print_json(task.model_dump(mode="json"))
        return
    rows = [("step", "member", "networks", "needs"), *map(task_row, tasks)]
    print_lines(columns(rows) if tasks else ["nothing to do"])


def task_row(task: "Task") -> tuple[str, ...]:
    """Return a task as the cells of a table."""
    member = "all" if task.member is None else str(task.member)
    networks = "-"
    if task.networks is not None:
        first, end = task.networks
        networks = str(first) if end == first + 1 else f"{first} to {end - 1}"
    return task.step, member, networks, ", ".join(map(need_text, task.needs)) or "-"


def need_text(need: "Need") -> str:
    """Return a need in words."""
    return need.step if need.member is None else f"{need.step} {need.member}"


def work_command(
    task: Annotated[
        str,
        typer.Option("--task", metavar="JSON", help="A line of `ddspec plan SPEC --tasks --json`."),
    ],
    store: StoreFolder = DEFAULT_STORE,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="Time to wait for artifacts that the task needs and that others make.",
        ),
    ] = 0.0,
    save_every: SaveEvery = 30.0,
) -> None:
    """Perform one task of a plan, for schedulers of your own.

    Any machine that sees the store may perform any task. Prints how it ended as JSON:
    done, reused if the artifacts were there, or diverged with exit code 1.
    """
    with exit_on_error("everything finished so far is kept; the same command continues"):
        from ddspec.cli.progress.reporter import Reporter
        from ddspec.engine.control import Control, Interrupted
        from ddspec.engine.run.work import work
        from ddspec.engine.store.store import Store

        try:
            with Reporter() as reporter:
                control = Control(report=reporter, say=reporter.tell, save_every=save_every)
                with control.listening():
                    report = work(task, Store(store), control, wait)
        except Interrupted as interruption:
            print_stderr(str(interruption))
            raise typer.Exit(interruption.exit_code) from None
    print_json(report.model_dump(mode="json"))
    if report.status == "diverged":
        print_stderr(f"diverged: {report.cause}; {report.advice}")
        raise typer.Exit(RUN_FAILED)
