"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.cli.errors import WRONG_USAGE, fail
from ddspec.dsl.terms import AssumedDevice, Device
from ddspec.trackers.installed import PACKAGES, TrackerName, check_trackers

SpecArgument = Annotated[
    Path, typer.Argument(metavar="SPEC", help="The spec, a TOML file.", show_default=False)
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="TABLE.KEY=VALUE", help="Change one key for this call; repeatable."
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of the datasets; default: $DDSPEC_DATA, else ~/.cache/ddspec/data.",
    ),
]
SaveEvery = Annotated[
    float,
    typer.Option("--save-every", metavar="SECONDS", min=0, help="Time between two checkpoints."),
]
StoreFolder = Annotated[
    Path,
    typer.Option("--store", metavar="DIR", envvar="DDSPEC_STORE", help="Folder of the artifacts."),
]
RunsFolder = Annotated[
    Path, typer.Option("--runs", metavar="DIR", help="Folder that receives the run folder.")
]
DeviceName = Annotated[
    Device | None, typer.Option("--device", help="Device to use; default: a GPU if available.")
]
AssumedName = Annotated[
    AssumedDevice | None,
    typer.Option(
        "--assume",
        help="Estimate costs for this GPU, which need not be here, from published peak figures.",
    ),
]
PreviewFlag = Annotated[
    bool,
    typer.Option(
        "--preview",
        help="Shrink the spec to minutes on this machine; plan, record and report say so.",
    ),
]
Retry = Annotated[bool, typer.Option("--retry", help="Compute again what diverged before.")]
StopOnFailure = Annotated[
    bool, typer.Option("--stop-on-failure", help="End a sweep after the first run that fails.")
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="|".join(PACKAGES),
        help="Log the run to this tracker too, while it runs; repeatable.",
    ),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def trackers_of(names: list[str] | None) -> tuple[TrackerName, ...]:
    """Return the trackers that were named; end with a message if one is unknown.

    Raises MachineError if one is not installed.
    """
    try:
        return check_trackers(names or ())
    except ValueError as error:
        fail(f"--log: {error}", "give one of them", WRONG_USAGE)
