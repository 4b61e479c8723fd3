"""Arguments as people write them: `SPEC...` in usage lines, options whose value may be left out."""

import re
from typing import Any

import typer.core

from ddspec.cli.progress.status import WATCH_SECONDS
from ddspec.dsl.table_text import is_number


class Command(typer.core.TyperCommand):
    """A command that shows its required arguments without braces in the usage line."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the command's name."""
        return [
            re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1\2", piece)
            for piece in super().collect_usage_pieces(ctx)
        ]


class WatchCommand(Command):
    """A command whose option --watch takes a number of seconds or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; --watch without a number has the usual one."""
        following = [*args[1:], ""]
        return super().parse_args(
            ctx,
            [
                f"--watch={WATCH_SECONDS}" if word == "--watch" and not is_number(after) else word
                for word, after in zip(args, following, strict=True)
            ],
        )
