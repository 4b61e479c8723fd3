"""Usage lines as people write them: `SPEC...` where Typer writes `{SPEC}...`."""

import re
from typing import Any

import typer.core


class Command(typer.core.TyperCommand):
    """A command whose required arguments stand in its usage line without braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the command's name."""
        return [
            re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1\2", piece)
            for piece in super().collect_usage_pieces(ctx)
        ]
