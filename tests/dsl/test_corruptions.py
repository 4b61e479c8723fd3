"""Whatever is done to a valid spec, the answer is a spec or diagnostics, never a traceback."""

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ddspec.dsl.diagnostics import SpecError, as_json, render
from ddspec.dsl.explain import CODES
from ddspec.dsl.loader import parse_spec

VALID = (Path(__file__).parent / "golden" / "valid" / "convex.toml").read_text()
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
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "value", "key", "splice"])):
            case "drop":
                lines[place] = ""
            case "double":
                lines.insert(place, lines[place])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[place], lines[other] = lines[other], lines[place]
            case "value":
                lines[place] = lines[place].partition("=")[0] + "= " + draw(JUNK)
            case "key":
                lines[place] = draw(JUNK) + lines[place]
            case _:
                cut = draw(st.integers(0, len(lines[place])))
                lines[place] = lines[place][:cut] + draw(JUNK) + lines[place][cut:]
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
    try:
        found = parse_spec(text, "corrupt.toml").warnings
    except SpecError as error:
        found = error.diagnostics
        assert found
    render(found)
    for said in found:
        as_json(said)
        assert said.code in CODES
        if said.span is not None:
            assert 1 <= said.span.line <= text.count("\n") + 1
            assert said.span.column >= 1


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_refused_in_words(content):
    import tempfile

    from ddspec.dsl.loader import load_spec

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.toml"
        path.write_bytes(content)
        try:
            load_spec(path)
        except SpecError as error:
            assert error.diagnostics
