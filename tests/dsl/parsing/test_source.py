"""The location of every key: line and column in characters, whatever is around it."""

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from ddspec.dsl.diagnostics import Span, SpecError
from ddspec.dsl.parsing.source import read_source


def positions(text, *path):
    location = read_source(text, "t").locations[path]
    return tuple((span.line, span.column) for span in (location.key, location.value))


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("a = 1\n", ("a",), (1, 1), (1, 5)),
        ("# ä\r\n[t]\r\n  b = 2\r\n", ("t", "b"), (3, 3), (3, 7)),
        ('"ä" = { c = 3 }\n', ("ä", "c"), (1, 9), (1, 13)),
        ("a.b.c = 1\n", ("a", "b", "c"), (1, 1), (1, 9)),
        ("[[e]]\nx = 1\n[[e]]\nx = 2\n", ("e", 1, "x"), (4, 1), (4, 5)),
        ("[[e]]\n[e.f]\ny = 1\n", ("e", 0, "f", "y"), (3, 1), (3, 5)),
        ("a = [1, # one\n 22]\n", ("a", 1), (2, 2), (2, 2)),
        ('"q\\u0041" = 1\n', ("qA",), (1, 1), (1, 13)),
    ],
)
def test_key_and_value_are_where_they_are_written(text, path, key, value):
    assert positions(text, *path) == (key, value)


KEYS = st.sampled_from(["a", "b", "syn_steps", '"ü x"', "c-d"])
VALUES = st.sampled_from(["1", "-2.5", '"t"', "[1, 2]", "{ p = 1, q = [3] }", "true"])


@given(st.lists(st.tuples(KEYS, VALUES, st.sampled_from(["", "# é", "\n"])), max_size=8))
@settings(max_examples=60, deadline=None)
def test_text_at_a_location_is_the_value_of_the_path(pairs):
    text = ""
    for number, (key, value, after) in enumerate(pairs):
        text += f"[t{number}]\n{key} = {value} {after}\n"
    source = read_source(text, "t")
    for path, location in source.locations.items():
        value = source.values
        for part in path:
            value = value[part]
        if isinstance(value, dict) and len(path) == 1:
            continue
        written = source.line(location.value.line)[location.value.column - 1 :][
            : location.value.width
        ]
        assert tomli.loads(f"v = {written}")["v"] == value


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2\n", "[t\n", "a = [" * 5000])
def test_text_that_is_not_toml_is_one_diagnostic(text):
    with pytest.raises(SpecError) as caught:
        read_source(text, "t")
    assert [d.code for d in caught.value.diagnostics] == ["toml-syntax"]


def test_columns_count_characters_in_long_lines():
    text = "a = [" + '"é", ' * 50_000 + "]\nb = 1\n"
    source = read_source(text, "t")
    assert source.locations[("a",)].value == Span(1, 5, len("[]") + 5 * 50_000)
    assert ("a", 0) not in source.locations
    short = read_source('é = ["日本", 7]\n'.replace("é", '"é"'), "t")
    assert short.locations[("é", 1)].value == Span(1, 14, 1)


def test_text_with_too_many_keys_is_refused():
    with pytest.raises(SpecError, match="40000 keys, but a spec may have at most 30000"):
        read_source("".join(f"k{number} = 1\n" for number in range(40_000)), "t")
