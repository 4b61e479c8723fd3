"""Every shipped spec compiles, and its header says where it comes from and what it costs."""

import json
from pathlib import Path

import pytest

from ddspec.dsl.compiler import compile_spec
from ddspec.dsl.datasets import KNOWN
from ddspec.dsl.estimate import Machine
from ddspec.dsl.loader import load_spec
from ddspec.dsl.schema import json_schema

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.toml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_spec_compiles_without_a_warning(path):
    loaded = load_spec(path)
    facts = KNOWN[loaded.spec.dataset.name].model_copy(update={"fingerprint": "0" * 32})

    plan = compile_spec(loaded.spec, facts, Machine("cpu", 2))

    assert loaded.warnings == ()
    assert plan.name == path.stem


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_header_states_source_accuracy_and_cost(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("# Source:", "# Accuracy:", "# Cost:"):
        assert any(line.startswith(word) for line in header), word
    assert any("hours" in line and "GPU" in line for line in header)


def test_committed_schema_is_the_one_of_the_language():
    committed = Path(__file__).parent.parent / "specs" / "schema.json"
    assert json.loads(committed.read_text()) == json_schema()
