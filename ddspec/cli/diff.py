"""The command that shows what differs between two experiments."""

from pathlib import Path
from typing import Annotated

import typer

from ddspec.cli.errors import exit_on_error
from ddspec.cli.options import JsonOutput
from ddspec.cli.printing import print_json, print_lines, terminal_width

HELP = "A spec, a run folder, a record.json or a report.html."


def diff_command(
    first: Annotated[Path, typer.Argument(metavar="A", help=HELP, show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help=HELP, show_default=False)],
    as_machine: JsonOutput = False,
) -> None:
    """Show what differs between two specs or runs.

    Begins with a sentence. Then come the settings that differ, by resolved value, so that
    writing out a default makes no difference; the steps, and whether both share their
    artifacts; and for two runs the accuracies with the 95 % interval of their difference
    (Welch). No image is read. The exit code is 0 whether or not anything differs.
    """
    with exit_on_error():
        from ddspec.cli.texts.differences import difference_lines, differences_json
        from ddspec.differences import compare_experiments

        found = compare_experiments(first, second)
        if as_machine:
            print_json(differences_json(found), indent=1)
        else:
            print_lines(difference_lines(found, terminal_width()))
