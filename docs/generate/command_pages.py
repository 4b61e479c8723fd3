"""Reference page of the command line, from the Typer app."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from ddspec.cli.main import app
from docs.generate.markdown import anchor, block, code, link, page, plain, table
from docs.generate.prose import blocks, command_names, module_docstring, prose

CODE_LINE = re.compile(r"([\d, ]*\d) {2,}(.+)")
"""A line of the table of exit codes."""


def commands_page() -> str:
    """Return the page of all commands with their arguments and options."""
    rows = [
        (link(code(f"ddspec {name}"), f"#command.{name.replace(' ', '.')}"), prose(summary(name)))
        for name in command_names()
    ]
    sections = [part for name in command_names() for part in section(name)]
    return page(
        "# Commands",
        prose(group().help),
        "Results go to stdout, progress and messages to stderr.",
        table(["command", "what it does"], rows),
        "Before the command:",
        parameter_table(group(), "ddspec"),
        *exit_codes(),
        *sections,
    )


@cache
def group() -> Any:
    """Return the commands of the Typer app; Typer does not export their classes."""
    return typer.main.get_group(app)


def command_of(name: str) -> Any:
    """Return the command of that name."""
    found = group()
    for word in name.split():
        found = found.commands[word]
    return found


def summary(name: str) -> str:
    """Return the first paragraph of a command's help."""
    return str(command_of(name).help).partition("\n\n")[0]


def section(name: str) -> list[str]:
    """Return the section of a command: usage, help, arguments and options."""
    command = command_of(name)
    context = typer.Context(command, info_name=f"ddspec {name}")
    usage = " ".join([f"ddspec {name}", *command.collect_usage_pieces(context)])
    return [
        anchor(f"command.{name.replace(' ', '.')}"),
        f"## {code(f'ddspec {name}')}",
        block(usage, "console"),
        "\n\n".join(blocks(str(command.help))),
        parameter_table(command, f"ddspec {name}"),
    ]


def parameter_table(command: Any, name: str) -> str:
    """Return the table of a command's arguments and options; empty if it has none."""
    context = typer.Context(command, info_name=name)
    rows = [parameter_row(p, context) for p in command.params if not p.hidden]
    return table(["argument or option", "meaning", "default"], rows) if rows else ""


def parameter_row(parameter: Any, context: typer.Context) -> tuple[str, str, str]:
    """Return an argument or an option as a row: how it is written, meaning, default."""
    is_option = parameter.param_type_name == "option"
    written = parameter.get_help_record(context)[0] if is_option else parameter.metavar
    default = "required" if parameter.required else default_of(parameter)
    if parameter.envvar:
        default += f"; environment variable {code(parameter.envvar)}"
    return code(re.sub("[<>]", "", written)), prose(str(parameter.help)), default


def default_of(parameter: Any) -> str:
    """Return the default as Markdown; empty if there is none to show."""
    if parameter.default is None or parameter.show_default is False or parameter.default == ():
        return ""
    if isinstance(parameter.default, bool):
        names = parameter.opts if parameter.default else parameter.secondary_opts
        return code(names[0]) if names and parameter.secondary_opts else ""
    return code(str(parameter.default))


def exit_codes() -> Iterator[str]:
    """Yield the section of the exit codes."""
    lines = module_docstring("ddspec.cli.errors").splitlines()
    rows = [found.groups() for line in lines if (found := CODE_LINE.fullmatch(line))]
    yield anchor("exit.codes")
    yield "## Exit codes"
    yield table(["exit code", "meaning"], [(plain(number), prose(text)) for number, text in rows])
