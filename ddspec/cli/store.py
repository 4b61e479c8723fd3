"""Commands on the store and the machine: store ls, verify and gc; import; doctor."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.api import DEFAULT_RUNS, DEFAULT_STORE
from ddspec.cli.errors import (
    NOT_REPRODUCED,
    UNFIT,
    WRONG_USAGE,
    exit_on_error,
    fail,
)
from ddspec.cli.options import DataFolder, JsonOutput, StoreFolder
from ddspec.cli.printing import print_json, print_line, print_lines, print_stderr
from ddspec.cli.texts.columns import columns
from ddspec.dsl.terms import DatasetName, PixelSpaceName, Statistics
from ddspec.dsl.toml_text import toml_text
from ddspec.reports.format import plain_size

store_app = typer.Typer(
    help="List or verify the store, or delete what no run uses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@store_app.command("ls")
def store_ls_command(store: StoreFolder = DEFAULT_STORE, as_machine: JsonOutput = False) -> None:
    """List the number and size of the artifacts by kind."""
    with exit_on_error():
        from ddspec.engine.maintenance.garbage import KINDS, stored_artifacts
        from ddspec.engine.store.store import Store

        artifacts = list(stored_artifacts(Store(store)))
        if as_machine:
            rows = [{"kind": a.kind, "digest": a.digest, "bytes": a.bytes} for a in artifacts]
            print_json(rows, indent=1)
            return
        table = [("kind", "artifacts", "size")]
        for kind in KINDS:
            sizes = [artifact.bytes for artifact in artifacts if artifact.kind == kind]
            if sizes:
                table.append((kind, str(len(sizes)), plain_size(sum(sizes))))
        total = sum(artifact.bytes for artifact in artifacts)
        table.append(("all", str(len(artifacts)), plain_size(total)))
        print_lines(columns(table))


@store_app.command("verify")
def store_verify_command(store: StoreFolder = DEFAULT_STORE) -> None:
    """Read every artifact and check its checksums."""
    with exit_on_error():
        from ddspec.engine.maintenance.garbage import damaged_artifacts
        from ddspec.engine.store.store import Store

        if not store.is_dir():
            fail(f"the store {store} does not exist", "give its folder by --store", UNFIT)
        sound, damaged = 0, 0
        for _, fault in damaged_artifacts(Store(store)):
            if fault:
                damaged += 1
                print_line(f"fault: {fault}")
            else:
                sound += 1
        print_line(f"{sound} sound, {damaged} damaged")
    if damaged:
        print_stderr(
            "  = hint: move the files named above out of the store; the next run makes them again"
        )
        raise typer.Exit(NOT_REPRODUCED)


@store_app.command("gc")
def store_gc_command(
    store: StoreFolder = DEFAULT_STORE,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs", metavar="DIR", help="Folder of run folders; repeatable. Default: runs."
        ),
    ] = None,
    days: Annotated[
        float,
        typer.Option("--older-than", metavar="DAYS", min=0, help="Keep artifacts that are newer."),
    ] = 1.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete the artifacts; without it, they are only listed.")
    ] = False,
) -> None:
    """List artifacts that no run uses, or delete them with --yes.

    A run uses the artifacts that its plan names. Give every folder that holds run
    folders: artifacts of runs elsewhere count as unused. Plans that `ddspec plan --tasks`
    kept in the store are unused a week after their last task; until then they use their
    artifacts too. --yes also removes temporary files of killed writers.
    """
    with exit_on_error():
        from ddspec.engine.maintenance.garbage import (
            DAY_SECONDS,
            remove_artifacts,
            run_folders,
            split_kept_plans,
            unused_artifacts,
            used_digests,
        )
        from ddspec.engine.store.store import Store

        searched = runs or [DEFAULT_RUNS]
        folders = run_folders(searched)
        if not folders:
            names = ", ".join(map(str, searched))
            fail(f"no run folder in {names}", "give the folder of the runs by --runs", WRONG_USAGE)
        artifacts, age = Store(store), days * DAY_SECONDS
        plans, used = split_kept_plans(artifacts, folders, age)
        garbage = unused_artifacts(artifacts, used | used_digests(folders), age)
        for artifact in garbage:
            print_line(f"{artifact.kind}/{artifact.digest}.h5  {plain_size(artifact.bytes)}")
        for kept in plans:
            print_line(f"plans/{kept.path.name}  {plain_size(kept.bytes)}")
        total = plain_size(sum(a.bytes for a in garbage) + sum(kept.bytes for kept in plans))
        found = f"{len(garbage)} artifacts{f' and {len(plans)} plans' if plans else ''}, {total}"
        reason = f"none of {len(folders)} run folders uses them"
        if not yes:
            print_line(f"{found}: {reason}; --yes deletes them")
            return
        remove_artifacts(artifacts, garbage, plans, searched)
        print_line(f"{found} deleted: {reason}")


def import_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="replay_buffer_*.pt files.", show_default=False),
    ] = None,
    synthetic: Annotated[
        Path | None,
        typer.Option(
            "--synthetic",
            metavar="FILE",
            help="A synthetic set instead: .pt, .npz, .h5, or a folder with one per class.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Its labels, if apart.")
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option("--lr", metavar="RATE|FILE", help="Its learning rate, or the file of it."),
    ] = None,
    dataset: Annotated[
        DatasetName | None, typer.Option("--dataset", help="Dataset that it was made for.")
    ] = None,
    pixels: Annotated[
        PixelSpaceName | None, typer.Option("--pixels", help="What its pixels are.")
    ] = None,
    mean: Annotated[
        str, typer.Option("--mean", metavar="X,Y,Z", help="Mean of normalized pixels by channel.")
    ] = "",
    std: Annotated[
        str, typer.Option("--std", metavar="X,Y,Z", help="Standard deviation by channel.")
    ] = "",
    statistics: Annotated[
        Statistics,
        typer.Option("--statistics", help="Without --mean: whose statistics of the dataset."),
    ] = "own",
    logits: Annotated[
        bool, typer.Option("--logits", help="Soft labels are logits: take their softmax.")
    ] = False,
    class_order: Annotated[
        str,
        typer.Option(
            "--class-order", metavar="A,B,...", help="Class names in the order of the labels."
        ),
    ] = "",
    number: Annotated[
        int | None, typer.Option("--number", help="Which set of a file of several, from 0.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", help="Side of its images, if not that of the dataset."),
    ] = None,
    iteration: Annotated[
        int | None,
        typer.Option("--iteration", min=0, help="Iteration of the run of ddspec that made it."),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where the set comes from; recorded.")
    ] = "",
    fixed_labels: Annotated[
        bool,
        typer.Option(
            "--fixed-labels", help="Judge by fixed labels a method that is taught by a teacher."
        ),
    ] = False,
    store: StoreFolder = DEFAULT_STORE,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken",
            help="Leave out trajectories that are broken, for example by NaN.",
        ),
    ] = False,
) -> None:
    """Import experts, or with --synthetic a synthetic set.

    Experts come as replay buffers (`replay_buffer_*.pt`). Prints the lines that use them
    in a spec. Only numbers and images are read, never code. Both are named by their
    content, experts in the order of the numbers in the files' names.
    """
    if synthetic is None:
        if not files:
            fail("no file was given", "give replay buffers, or a set by --synthetic", WRONG_USAGE)
        import_experts(files, store, skip_broken)
        return
    if files:
        fail(
            f"both --synthetic and {files[0]} were given",
            "give the labels by --labels and the learning rate by --lr",
            WRONG_USAGE,
        )
    if dataset is None:
        fail("--synthetic needs --dataset", "name the dataset of the set", WRONG_USAGE)
    with exit_on_error():
        from ddspec.engine.exchange.import_set import SetOptions, import_set
        from ddspec.engine.store.store import Store
        from ddspec.set_specs import init_of

        rate, rate_file = rate_or_file(lr)
        options = SetOptions(
            dataset=dataset,
            pixels=pixels,
            mean=numbers("--mean", mean),
            std=numbers("--std", std),
            statistics=statistics,
            lr=rate,
            logits=logits,
            number=number,
            class_order=tuple(name.strip() for name in class_order.split(",") if name.strip()),
            resolution=resolution,
            iteration=iteration,
            source=source,
            fixed_labels=fixed_labels,
        )
        paths = [path for path in (synthetic, labels, rate_file) if path is not None]
        made = import_set(paths, options, Store(store))
    rate_text = "none: give evaluation.lr" if made.student_lr is None else f"{made.student_lr:.6g}"
    order = ", ".join(made.class_names) or "that of the dataset"
    print_stderr(f"{made.ipc} images for each of {made.classes} classes; {made.labels} labels")
    print_stderr(f"pixels: {made.pixels.text}")
    print_stderr(f"order of the classes: {order}")
    print_stderr(f"learning rate: {rate_text}")
    print_stderr(f"ddspec new --for-set {made.name} writes a spec that evaluates it")
    print_line("[synthetic]")
    print_line(f"ipc = {made.ipc}")
    print_line(f"init = {toml_text(init_of(made))}")


def rate_or_file(text: str | None) -> tuple[float | None, Path | None]:
    """Return a learning rate that was given as a number or as a file."""
    if text is None:
        return None, None
    try:
        return float(text), None
    except ValueError:
        return None, Path(text)


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Return the numbers of an option; end with a message if they are none."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        fail(f"{option} is {text!r}", "give a number per channel, as 0.5,0.5,0.5", WRONG_USAGE)


def import_experts(files: list[Path], store: Path, skip_broken: bool) -> None:
    """Import replay buffers and print how a spec uses them."""
    with exit_on_error():
        from ddspec.engine.exchange.replay_buffers import UNKNOWN_FACTS, import_buffers
        from ddspec.engine.store.store import Store

        experts = import_buffers(files, Store(store), skip_broken=skip_broken)
    if experts.left_out:
        total = experts.count + len(experts.left_out)
        print_stderr(f"left out {len(experts.left_out)} of {total} trajectories, which are broken:")
        for left in experts.left_out:
            print_stderr(f"  {left.file}: trajectory {left.number} {left.problem}")
    print_stderr("unknown about these experts, as every record will say:")
    for fact in UNKNOWN_FACTS:
        print_stderr(f"  {fact}")
    print_line("[experts]")
    print_line(f'imported = "{experts.name}"')
    print_line(f"count = {experts.count}")
    print_line(f"epochs = {experts.epochs}")


def doctor_command(store: StoreFolder = DEFAULT_STORE, data: DataFolder = None) -> None:
    """Check that this machine is fit to run experiments.

    Looks at versions, device, memory, disk, locks and which datasets are there.
    """
    with exit_on_error():
        from ddspec.engine.maintenance.doctor import run_checks

        checks = run_checks(store, data)
        for check in checks:
            print_line(f"{'ok  ' if check.passed else 'no  '}{check.subject}: {check.detail}")
    if not all(check.passed for check in checks if check.required):
        raise typer.Exit(UNFIT)
