"""The command line as its users see it: usage lines, and what several commands share."""

import re

import pytest


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("check", "SPEC..."),
        ("plan", "SPEC"),
        ("status", "RUN"),
        ("compare", "RUN..."),
        ("reproduce", "RECORD|REPORT|SPEC"),
        ("new", "[NAME]"),
        ("import", "[FILE]..."),
    ],
)
def test_usage_line_is_as_people_write_it(cli, command, arguments):
    first = cli(command, "--help").stdout.splitlines()[0]
    assert first.endswith(f" {command} [OPTIONS] {arguments}")


def test_no_usage_line_has_braces(cli):
    listed = cli("--help").stdout.partition("\nCommands:\n")[2].partition("\n\n")[0]
    commands = re.findall(r"^  (\w+)", listed, re.MULTILINE)
    assert "check" in commands
    for command in commands:
        assert "{" not in cli(command, "--help").stdout.splitlines()[0]


def test_wrong_usage_is_answered_with_the_same_line(cli):
    answer = cli("plan")
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[0].endswith(" plan [OPTIONS] SPEC")


def test_summary_of_every_command_fits_its_line(cli):
    """Eighty columns, as in a terminal that nobody has widened."""
    lines = cli("--help").stdout.splitlines()
    assert len([line for line in lines if re.match(r"  [a-z]+ +[A-Z]", line)]) >= 19
    assert [line for line in lines[1:] if line.endswith("...")] == []
