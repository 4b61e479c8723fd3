"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.dsl.terms import Device

Spec = Annotated[Path, typer.Argument(help="The spec, a TOML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change a key for this call."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Where datasets lie; else $DDSPEC_DATA, else ~/.cache/ddspec/data.",
    ),
]
StoreFolder = Annotated[
    Path,
    typer.Option("--store", metavar="DIR", envvar="DDSPEC_STORE", help="Where artifacts are kept."),
]
RunsFolder = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run folders go.")]
DeviceName = Annotated[
    Device | None, typer.Option("--device", help="Else a GPU where there is one.")
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Shrink it to minutes on this machine; marked everywhere."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
