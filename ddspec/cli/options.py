"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.dsl.terms import Device

SpecArgument = Annotated[
    Path, typer.Argument(metavar="SPEC", help="The spec, a TOML file.", show_default=False)
]
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
PreviewFlag = Annotated[
    bool,
    typer.Option(
        "--preview",
        help="Shrink the spec to minutes on this machine; plan, record and report say so.",
    ),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON.")]
