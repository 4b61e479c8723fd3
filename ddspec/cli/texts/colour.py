"""Colours of errors and warnings on a terminal.

Text is coloured last, after it was escaped, line by line and by its form alone: nothing that a
message quotes can begin or end a colour. This module imports nothing of the project.
"""

import os
import re
from collections.abc import Mapping
from typing import TextIO

BOLD, RED, YELLOW, BLUE, CYAN = "1", "1;31", "1;33", "1;34", "1;36"
SEVERITIES = {"error": RED, "warning": YELLOW}

HEAD = re.compile(r"(error|warning)(\[[\w-]+\])?: ")
"""Begin of a diagnostic's first line: severity and code."""
POSITION = re.compile(r" +--> ")
CARETS = re.compile(r"( +\| +)(\^+)")
SOURCE = re.compile(r" \d+ \| ")
NOTE = re.compile(r"(  = )(hint:)?")


def wants_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether text on a stream is coloured.

    NO_COLOR decides first, then FORCE_COLOR; both count if they are not empty. Otherwise it is
    coloured on a terminal, unless TERM is "dumb".
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    if environment.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except (ValueError, AttributeError):  # The stream is closed.
        return False


def coloured(text: str, stream: TextIO) -> str:
    """Return escaped lines with the colours of errors and warnings, if the stream has any."""
    if not wants_colour(stream):
        return text
    severity, lines = RED, []
    for line in text.split("\n"):
        head = HEAD.match(line)
        if head is not None:
            severity = SEVERITIES[head[1]]
        lines.append(coloured_line(line, severity))
    return "\n".join(lines)


def coloured_line(line: str, severity: str) -> str:
    """Return a line with its colours; `severity` is that of the diagnostic it belongs to."""
    if head := HEAD.match(line):
        label = head[0].rstrip(" :")
        return paint(label, severity) + paint(line[len(label) :], BOLD)
    if position := POSITION.match(line):
        return paint(position[0], BLUE) + line[position.end() :]
    if carets := CARETS.fullmatch(line):
        return paint(carets[1], BLUE) + paint(carets[2], severity)
    if source := SOURCE.match(line):
        return paint(source[0], BLUE) + line[source.end() :]
    if note := NOTE.match(line):
        word = paint(note[2], CYAN) if note[2] else ""
        return paint(note[1], BLUE) + word + line[note.end() :]
    return line


def paint(text: str, colour: str) -> str:
    """Return a text in a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m"
