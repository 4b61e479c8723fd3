"""Examples in Markdown pages, which tests run as a reader would.

An HTML comment directly above a fenced block says what is done with the block, in the folder of
the page:

    <!-- file: NAME -->    write it to the file NAME
    <!-- run -->           run it with `bash -e`
    <!-- run: fails -->    the same; it must end with another exit code than 0
    <!-- python -->        run it as Python
    <!-- output -->        each line occurs in what the block before printed;
                           `...` stands for any text within a line

Blocks without such a comment are not looked at.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent

Action = Literal["file", "run", "run: fails", "python", "output"]
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
SECONDS = 1200
"""Longest time of a block."""


@dataclass(frozen=True)
class Example:
    """A block of a page with what is done with it."""

    action: Action
    text: str
    line: int
    """Line of the comment in the page."""
    name: str = ""
    """Name of the file to write."""


def examples_in(text: str) -> Iterator[Example]:
    """Yield the examples of a page. Raises ValueError for a comment that cannot be followed."""
    tokens = MarkdownIt().parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        comment = COMMENT.fullmatch(token.content.strip()) if token.type == "html_block" else None
        if comment is None:
            continue
        line = token.map[0] + 1 if token.map else 0
        action, name = action_of(comment[1])
        fence = following if following is not None and following.type == "fence" else None
        if fence is None and action is not None:
            raise ValueError(f"line {line}: no block is below {comment[1]!r}")
        if fence is not None and action is None:
            raise ValueError(f"line {line}: {comment[1]!r} does not say what to do with the block")
        if fence is not None and action is not None:
            yield Example(action, fence.content, line, name)


def action_of(comment: str) -> tuple[Action | None, str]:
    """Return what a comment says to do, and the name of a file; None if it says nothing."""
    word, _, name = comment.partition(": ")
    if word == "file" and name:
        return "file", name
    known = {action: action for action in get_args(Action) if action != "file"}
    return known.get(comment), ""


def run_examples(text: str, folder: Path) -> None:
    """Run the examples of a page in their order. Raises AssertionError where one is wrong."""
    (folder / "specs").symlink_to(ROOT / "specs")
    printed: str | None = None
    for example in examples_in(text):
        where = f"line {example.line}"
        match example.action:
            case "file":
                path = folder / example.name
                assert path.resolve().is_relative_to(folder.resolve()), where
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(example.text, encoding="utf-8")
            case "output":
                assert printed is not None, f"{where}: no block was run before"
                for expected in missing_lines(example.text, printed):
                    raise AssertionError(f"{where}: {expected!r} is not in\n{printed}")
            case _:
                code, printed = carry_out(example, folder)
                assert (code != 0) == (example.action == "run: fails"), (
                    f"{where}: exit code {code}\n{printed}"
                )


def carry_out(example: Example, folder: Path) -> tuple[int, str]:
    """Run a block in a folder; return its exit code and what it printed, on both streams."""
    program = [sys.executable] if example.action == "python" else ["bash", "-e"]
    environment = {name: v for name, v in os.environ.items() if not name.startswith("DDSPEC_")}
    paths = {"PATH": Path(sys.executable).parent, "PYTHONPATH": ROOT}
    for name, first in paths.items():
        environment[name] = os.pathsep.join([str(first), *filter(None, [environment.get(name)])])
    ended = subprocess.run(
        [*program, "-c", example.text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
    )
    return ended.returncode, ended.stdout


def missing_lines(expected: str, printed: str) -> Iterator[str]:
    """Yield the expected lines that were not printed."""
    for line in filter(str.strip, expected.splitlines()):
        pattern = ".*".join(map(re.escape, line.strip().split("...")))
        if not re.search(pattern, printed):
            yield line
