"""Texts of others reach a terminal escaped, on one line, and cut."""

import pytest

from ddspec.dsl.terminal_text import (
    MOST_IN_LINE,
    cut_text,
    escape_text,
    message_of,
    terminal_line,
    terminal_lines,
)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a name, as it is: müsli 田", "a name, as it is: müsli 田"),
        ("ok\nverified", r"ok\nverified"),
        ("\x1b[1mbold\x1b[0m", r"\x1b[1mbold\x1b[0m"),
        ("carriage\rreturn\ttab", r"carriage\rreturn\ttab"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("caf\udce9", r"caf\xe9"),
        ("half \ud83d pair", r"half \ud83d pair"),
    ],
)
def test_characters_that_a_terminal_acts_on_or_hides_are_escaped(text: str, escaped: str):
    assert escape_text(text) == escaped
    assert escape_text(text).isprintable()


def test_line_of_any_length_stays_one_short_line():
    for text in ("x" * 10**6, "\x00" * 10**6, "a\nb" * 10**5):
        line = terminal_line(text)
        assert len(line) < 2 * MOST_IN_LINE + 50
        assert line.isprintable()


def test_cut_text_says_how_long_it_was():
    assert cut_text("abcdef", 6) == "abcdef"
    assert cut_text("abcdefg", 6) == "abcdef... (7 characters)"


def test_lines_of_ddspec_are_kept():
    assert terminal_lines("error\n  = hint: \x1b[2J") == "error\n  = hint: \\x1b[2J"


def test_message_of_a_library_is_its_first_line():
    assert message_of(RuntimeError("first \x1b[1m\nsecond")) == r"first \x1b[1m"
    assert message_of(RuntimeError("")) == "RuntimeError"
    assert len(message_of(ValueError("x" * 10**6))) < 250
