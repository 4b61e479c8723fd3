"""Every shipped spec compiles, and its header says where it comes from and what it costs."""

import json
import time
from pathlib import Path

import pytest

from ddspec.dsl.compiler import compile_spec
from ddspec.dsl.datasets import KNOWN
from ddspec.dsl.estimate import Machine
from ddspec.dsl.loader import load_spec
from ddspec.dsl.readings import deviations
from ddspec.dsl.schema import json_schema

ROOT = Path(__file__).parent.parent / "specs"
SPECS = sorted(ROOT.rglob("*.toml"))


def named(path):
    """What a spec is called: by its file, and by its method's folder where it has one."""
    return "_".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_shipped_spec_compiles_without_a_warning(path):
    loaded = load_spec(path)
    facts = KNOWN[loaded.spec.dataset.name].model_copy(update={"fingerprint": "0" * 32})

    plan = compile_spec(loaded.spec, facts, Machine("cpu", 2))

    assert loaded.warnings == ()
    assert plan.name == named(path)


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_header_states_source_accuracy_and_cost(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("# Source:", "# Accuracy:", "# Cost:"):
        assert any(line.startswith(word) for line in header), word
    assert any("hours" in line and "GPU" in line for line in header)


def test_all_shipped_specs_load_in_three_seconds_together():
    began = time.perf_counter()
    for path in SPECS:
        load_spec(path)
    assert time.perf_counter() - began < 3
    assert len(SPECS) > 70


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_published_number_stands_in_the_header_with_its_source(path):
    header = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    for expected in load_spec(path).spec.expect:
        assert f"{expected.accuracy}" in header
        assert expected.source in header
        assert "[mem]" not in header


def test_specs_of_papers_in_their_reading_depart_from_nothing():
    for path in SPECS:
        found = {deviation.key for deviation in deviations(load_spec(path).spec)}
        if path.parent.name == "ast_code":
            assert "matching.student_momentum" in found
        else:
            assert not found, path


def test_committed_schema_is_the_one_of_the_language():
    committed = Path(__file__).parent.parent / "specs" / "schema.json"
    assert json.loads(committed.read_text()) == json_schema()
