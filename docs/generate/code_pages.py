"""Reference page of the codes that errors and warnings carry."""

from pathlib import Path

from ddspec.dsl.reference.error_codes import CODES
from docs.generate.markdown import anchor, block, code, page
from docs.generate.prose import prose

EXAMPLES = Path(__file__).parents[2] / "tests" / "dsl" / "golden" / "invalid"
"""Texts of errors as tests hold them, `CODE.txt`; codes about data have none."""

INTRODUCTION = """\
Every error and every warning about a spec has a code. `ddspec explain CODE` prints the same
text."""


def codes_page() -> str:
    """Return the page of all codes, each with an example if tests have one."""
    sections = [part for name in sorted(CODES) for part in section(name)]
    return page("# Error codes", prose(INTRODUCTION), *sections)


def section(name: str) -> list[str]:
    """Return the section of one code."""
    example = EXAMPLES / f"{name}.txt"
    errors = example.read_text(encoding="utf-8").split("\n\n") if example.exists() else []
    shown = block(errors[0]) if errors else ""
    return [anchor(f"code.{name}"), f"## {code(name)}", prose(CODES[name]), shown]
