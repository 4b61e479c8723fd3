"""Values are written as TOML reads them."""

import pytest
import tomli

from ddspec.dsl.toml_text import MOST_CHARACTERS, default_text, short_text, toml_text


@pytest.mark.parametrize(
    "value", [True, 3, 0.5, 1e-07, 'a "b" \\ c', ["x", 2.0], {"name": "sgd", "lr": 0.01}, {}]
)
def test_text_of_a_value_is_read_back_as_that_value(value):
    assert tomli.loads(f"value = {toml_text(value)}")["value"] == value


def test_default_that_toml_cannot_write_is_absent():
    assert default_text(None) == "absent"
    assert default_text(("convnet", True)) == '["convnet", true]'


@pytest.mark.parametrize("value", ["x" * 1000, 10**100, [1] * 500, "a\x1b[31mb"])
def test_value_in_a_message_is_short_and_printable(value):
    text = short_text(value)
    assert len(text) <= MOST_CHARACTERS
    assert text.isprintable()
