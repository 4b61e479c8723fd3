"""Colours of errors: on terminals alone, and never more than the same text in colours."""

import io
import re
from pathlib import Path

import pytest

from ddspec.cli.texts.colour import coloured, wants_colour
from tests.on_terminal import on_terminal

INVALID = sorted((Path(__file__).parent / "dsl" / "golden" / "invalid").glob("*.txt"))
COLOUR = re.compile("\x1b\\[[0-9;]*m")
RED, YELLOW, BLUE, CYAN, BOLD = (f"\x1b[{code}m" for code in ("1;31", "1;33", "1;34", "1;36", "1"))
END = "\x1b[0m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@pytest.fixture
def wrong(tmp_path) -> Path:
    path = tmp_path / "wrong.toml"
    path.write_text('ddspec = 1\nname = "x"\n[matching]\nsyn_stpes = 3\n')
    return path


@pytest.mark.parametrize(
    ("variables", "on_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_variables_decide_on_colours(variables, on_a_terminal, elsewhere):
    assert wants_colour(Terminal(), variables) == on_a_terminal
    assert wants_colour(io.StringIO(), variables) == elsewhere


def test_closed_stream_has_no_colours():
    stream = io.StringIO()
    stream.close()
    assert not wants_colour(stream, {})


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_colours_change_no_character_of_a_message(path, terminal):
    text = path.read_text()
    shown = coloured(text, terminal)
    assert shown != text and COLOUR.sub("", shown) == text
    assert coloured(text, io.StringIO()) == text


def test_parts_of_a_diagnostic_have_their_colours(terminal):
    text = "warning[a-b]: k: p\n  --> f.toml:2:1\n 2 | error: x\n   | ^^\n  = hint: h"
    assert coloured(text, terminal).split("\n") == [
        f"{YELLOW}warning[a-b]{END}{BOLD}: k: p{END}",
        f"{BLUE}  --> {END}f.toml:2:1",
        f"{BLUE} 2 | {END}error: x",
        f"{BLUE}   | {END}{YELLOW}^^{END}",
        f"{BLUE}  = {END}{CYAN}hint:{END} h",
    ]


@pytest.mark.parametrize(
    "line", ["errors: 3", "accuracy 91 %", "erroneous", "run/a", "warning of a.py:7: x"]
)
def test_other_lines_have_no_colours(line, terminal):
    assert coloured(line, terminal) == line


def test_errors_on_a_terminal_are_coloured(wrong):
    shown = on_terminal("check", wrong)
    assert f"{RED}error[unknown-key]{END}" in shown
    assert f"{RED}^^^^^^^^^{END}" in shown
    plain = on_terminal("check", wrong, NO_COLOR="1")
    assert "\x1b" not in plain and COLOUR.sub("", shown) == plain
    missing = on_terminal("report", wrong.parent / "nowhere", streams=["stderr"])
    assert missing.startswith(f"{RED}error{END}")


def test_pipes_and_json_have_no_colours(cli, wrong):
    for command in (("check", wrong), ("plan", wrong), ("report", "nowhere")):
        answer = cli(*command)
        assert "\x1b" not in answer.stdout + answer.stderr
    shown = on_terminal("check", wrong, "--json", streams=["stdout"], FORCE_COLOR="1")
    assert "\x1b" not in shown and '"unknown-key"' in shown
