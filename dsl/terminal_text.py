"""Text of others on a terminal: escaped, on one line, and cut.

Names in a spec or record, file names and messages of libraries may hold anything: line breaks that
forge a line of output, sequences that move the cursor, characters that reverse the direction of
reading, megabytes. This module imports nothing of the project.
"""

import contextlib

MOST_IN_LINE = 2000
"""Most characters of a line of output; the texts in it are cut more tightly."""

MOST_IN_MESSAGE = 200
"""Most characters of a message of a library, or of a name that a message quotes."""


def escape_text(text: str) -> str:
    """Return a text on one line without characters that a terminal acts on or hides.

    Such characters, line breaks among them, are written as Python writes them in a string.
    Bytes of a file name that are not UTF-8 appear as \\xNN.
    """
    if text.isprintable():
        return text
    # A lone surrogate from JSON stands for no byte; the text is then left as it is.
    with contextlib.suppress(UnicodeEncodeError):
        # Under a locale without UTF-8, a name in UTF-8 arrives as single bytes.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut_text(text: str, most: int) -> str:
    """Return a text with at most `most` characters; of a longer one, its begin and its length."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text)} characters)"


def terminal_line(text: str) -> str:
    """Return a text as one line of output."""
    # Cut twice: before escaping, for speed, and after it, which lengthens the text.
    return cut_text(escape_text(cut_text(text, MOST_IN_LINE)), 2 * MOST_IN_LINE)


def terminal_lines(text: str) -> str:
    """Return a text of several lines as lines of output; its line feeds are kept.

    It is for texts of ddspec's own whose parts have been escaped.
    """
    return "\n".join(map(terminal_line, text.split("\n")))


def message_of(error: BaseException) -> str:
    """Return the first line of the message of a library's error, cut; its type if it has none."""
    lines = str(error).strip()[: 10 * MOST_IN_MESSAGE].splitlines()
    return cut_text(escape_text(lines[0]), MOST_IN_MESSAGE) if lines else type(error).__name__
