"""Paths of keys are written and read the same way everywhere."""

import pytest

from ddspec.dsl.key_path import dotted, leaves, path_of, without_indices


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("matching", "syn_steps"), "matching.syn_steps"),
        (("expect", 0, "accuracy"), "expect[1].accuracy"),
        ((), ""),
    ],
)
def test_indices_are_written_from_one(path, text):
    assert dotted(path) == text


def test_written_path_is_read_back():
    assert path_of("expect[12].source") == ("expect", 11, "source")


def test_catalogue_knows_keys_without_indices():
    assert without_indices(("expect", 0, "accuracy")) == "expect.accuracy"


def test_leaves_are_the_keys_that_are_not_tables():
    tables = {"a": {"b": 1, "c": {}}, "d": [{"e": 2}], "f": [3]}

    assert dict(leaves(tables)) == {("a", "b"): 1, ("d",): [{"e": 2}], ("f",): [3]}
    assert dict(leaves(tables, empty_tables=True))["a", "c"] == {}
    assert dict(leaves(tables, lists=True))["d", 0, "e"] == 2
