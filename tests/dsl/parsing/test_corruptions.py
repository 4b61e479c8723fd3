"""A corrupted spec gives a spec or diagnostics, never a traceback."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ddspec.dsl.diagnostics import SpecError, diagnostic_json, render_diagnostics
from ddspec.dsl.parsing.loader import parse_spec_or_sweep
from ddspec.dsl.reference.error_codes import CODES

VALID = (Path(__file__).parents[1] / "golden" / "valid" / "convex.toml").read_text()
LINES = VALID.splitlines()
JUNK = st.sampled_from(
    [
        "",
        "[",
        "]]",
        "= ",
        '"',
        "{",
        "}",
        "nan",
        "inf",
        "-1",
        "1e400",
        "2026-01-01",
        "[[a]]",
        "\x00",
        "x" * 300,
        "'''",
        "é",
        "9" * 400,
        "true",
        "[synthetic]",
        "a.b = 1",
        "expect = 3",
        "\r",
        "\t",
    ]
)


@st.composite
def corruptions(draw: st.DrawFn) -> str:
    """A valid spec with lines cut, swapped, doubled, or parts replaced by junk."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "value", "key", "splice"])):
            case "drop":
                lines[index] = ""
            case "double":
                lines.insert(index, lines[index])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[index], lines[other] = lines[other], lines[index]
            case "value":
                lines[index] = lines[index].partition("=")[0] + "= " + draw(JUNK)
            case "key":
                lines[index] = draw(JUNK) + lines[index]
            case _:
                cut = draw(st.integers(0, len(lines[index])))
                lines[index] = lines[index][:cut] + draw(JUNK) + lines[index][cut:]
    return "\n".join(lines)


@given(corruptions())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(VALID.replace("[synthetic]", "[[synthetic]]"))
@example(VALID.replace("ipc = 2", "ipc = 100000000000000000000"))
@example(VALID.replace('init = { name = "noise" }', "init = 3"))
@example(VALID.replace('init = { name = "noise" }', "init = { name = { name = 1 } }"))
@example(VALID.replace('[trajectory]\ntype = "convex"', "[[trajectory]]\ntype = 3"))
@example("")
def test_corrupted_spec_gives_diagnostics_with_known_codes(text):
    assert_answered(text)


def assert_answered(text: str) -> None:
    """A spec, or diagnostics with codes and places."""
    try:
        loaded = parse_spec_or_sweep(text, "corrupt.toml")
        runs = [member.loaded for member in getattr(loaded, "members", ())] or [loaded]
        diagnostics = tuple(warning for run in runs for warning in run.warnings)
    except SpecError as error:
        diagnostics = error.diagnostics
        assert diagnostics
    render_diagnostics(diagnostics)
    for diagnostic in diagnostics:
        diagnostic_json(diagnostic)
        assert diagnostic.code in CODES
        if diagnostic.span is not None:
            assert 1 <= diagnostic.span.line <= text.count("\n") + 1
            assert diagnostic.span.column >= 1


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_refused_in_words(content):
    import tempfile

    from ddspec.dsl.parsing.loader import load_spec

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.toml"
        path.write_bytes(content)
        try:
            load_spec(path)
        except SpecError as error:
            assert error.diagnostics


SPECS = Path(__file__).parents[3] / "specs"
PIECES = [
    *("[", "]]", "= ", '"', "{", "}", "nan", "-inf", "1e400", "2026-01-01", "\x00", "'" * 3, "é"),
    *("9" * 400, "true", "[synthetic]", "[[sweep.cases]]", "[sweep]", "a.b = 1", "\r", "\u202e"),
    *("lr_teacher = 1", "{ name = { name = 1 } }", "[" * 200, "{ a = " * 200, "0x", "1_0_", "#"),
]


def corrupted(text: str, draw: random.Random) -> str:
    """A spec with lines or characters cut, doubled, exchanged or replaced by junk."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 5)):
        index = draw.randrange(len(lines))
        line = lines[index]
        cut = draw.randint(0, len(line))
        match draw.randrange(8):
            case 0:
                lines[index] = ""
            case 1:
                lines.insert(draw.randrange(len(lines)), line)
            case 2:
                other = draw.randrange(len(lines))
                lines[index], lines[other] = lines[other], line
            case 3:
                lines[index] = line.partition("=")[0] + "= " + draw.choice(PIECES)
            case 4:
                lines[index] = line[:cut] + draw.choice(PIECES) + line[cut:]
            case 5:
                lines[index] = line[:cut] + line[cut + 1 :]
            case 6:
                lines[index] = line.partition("=")[0] + "=" + draw.choice(lines).partition("=")[2]
            case _:
                lines[index] = line[:cut] + chr(draw.randrange(1, 0x2FFF)) + line[cut:]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_corrupted_specs_are_answered(seed, no_hang):
    texts = [path.read_text() for path in sorted(SPECS.rglob("*.toml"))]
    draw = random.Random(seed)
    for _ in range(2500):
        text = corrupted(draw.choice(texts), draw)
        with no_hang(text):
            assert_answered(text)
