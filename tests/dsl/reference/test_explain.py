"""What `ddspec explain` says of codes and keys."""

import re
from pathlib import Path

import pytest

from ddspec.dsl.reference.explain import explain, list_of_subjects, near
from ddspec.dsl.spec.catalogue import catalogue

CODES = sorted(p.stem for p in (Path(__file__).parents[1] / "golden" / "invalid").glob("*.toml"))


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_an_error_has_a_long_form(code):
    text = explain(code)
    assert text is not None
    assert text.startswith(f"{code}\n\n  ")
    assert len(text) > len(code) + 40


@pytest.mark.parametrize("path", sorted(catalogue()))
def test_every_key_is_explained_with_its_meaning(path):
    text = explain(path)
    assert text is not None
    assert catalogue()[path].meaning in text


def test_key_is_explained_by_its_last_name():
    assert "matching.syn_steps" in (explain("syn_steps") or "")


def test_unknown_subject_has_neighbours():
    assert explain("syn_stpes") is None
    assert "syn_steps" in near("syn_stpes")


def test_keys_are_found_by_the_end_of_their_path_and_all_are_listed():
    assert explain("images.lr").startswith("synthetic.images.lr\n")
    assert {"experts.optimizer.lr", "synthetic.images.lr", "synthetic.student_lr.lr"} <= {
        part.splitlines()[0] for part in explain("lr").split("\n\n")
    }
    listed = list_of_subjects()
    assert all(code in listed for code in CODES)
    names = set(re.findall(r"\w+", listed))
    assert {key.name for key in catalogue().values() if not key.is_table} <= names
    assert max(map(len, listed.splitlines())) <= 88
