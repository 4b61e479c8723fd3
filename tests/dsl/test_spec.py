"""The keys of the language: frozen defaults, documented, and each of them read."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddspec.api import resolved_toml
from ddspec.dsl.catalogue import catalogue
from ddspec.dsl.compiler import compile_spec
from ddspec.dsl.estimate import Machine
from ddspec.dsl.explain import CODES, explain
from ddspec.dsl.loader import load_spec, parse_spec
from ddspec.dsl.schema import json_schema
from ddspec.dsl.spec import Spec

GOLDEN = Path(__file__).parent / "golden"
MACHINE = Machine("cpu", 2)


def test_defaults_of_language_1_are_frozen(golden):
    spec = load_spec(GOLDEN / "valid" / "minimal.toml").spec
    golden(GOLDEN / "defaults-1.json", json.dumps(spec.model_dump(mode="json"), indent=1) + "\n")


@pytest.mark.parametrize("path", list(catalogue()))
def test_every_key_has_a_meaning_and_keys_have_a_source(path):
    key = catalogue()[path]
    assert key.meaning
    assert key.source or key.is_table
    assert explain(path).startswith(path)


def test_explanation_of_every_code_is_prose():
    for code in CODES:
        assert len(explain(code).split()) > 8


def test_resolved_spec_gives_the_same_plan(digits_facts):
    for path in (GOLDEN / "valid").glob("*.toml"):
        loaded = load_spec(path)
        again = parse_spec(resolved_toml(loaded), "resolved.toml")
        first, second = (compile_spec(x.spec, digits_facts, MACHINE) for x in (loaded, again))
        assert first == second


CHANGES = {
    "title": None,
    "name": None,
    "seed": 4,
    "compute.deterministic": True,
    "network.depth": 1,
    "network.width": 8,
    "network.norm": "instance",
    "network.pooling": "average",
    "network.activation": "relu",
    "augmentation.families": ["crop"],
    "experts.count": 4,
    "experts.epochs": 7,
    "experts.batch_size": 64,
    "experts.optimizer.lr": 0.5,
    "experts.optimizer.momentum": 0.1,
    "experts.optimizer.weight_decay": 0.1,
    "experts.lr_decay.epoch": 3,
    "experts.lr_decay.factor": 0.1,
    "experts.seed": 2,
    "trajectory.spacing": "path",
    "synthetic.ipc": 3,
    "synthetic.init.name": "real",
    "synthetic.student_lr.init": 0.5,
    "synthetic.student_lr.lr": 0.5,
    "synthetic.student_lr.momentum": 0.1,
    "synthetic.images.lr": 0.5,
    "synthetic.images.momentum": 0.1,
    "matching.iterations": 60,
    "matching.syn_steps": 6,
    "matching.expert_epochs": 1.5,
    "matching.min_start_epoch": 1,
    "matching.max_start_epoch": 5,
    "matching.batch_syn": 9,
    "evaluation.repeats": 3,
    "evaluation.every": 30,
    "evaluation.epochs": 11,
    "evaluation.choose": "last",
}
ONE_VALUE_SO_FAR = {
    "ddspec",
    "compute.precision",
    "dataset.name",
    "dataset.root",
    "network.name",
    "experts.optimizer.name",
    "trajectory.type",
    "trajectory.waypoints",
    "trajectory.sampling",
    "synthetic.labels",
    "matching.gradient",
    "evaluation.protocol",
    "evaluation.networks",
}
"""Keys with a single value so far, or whose value chooses the images themselves."""


def plan_with(override, facts):
    options = [] if override is None else [override]
    return compile_spec(load_spec(GOLDEN / "valid" / "convex.toml", options).spec, facts, MACHINE)


@pytest.mark.parametrize("key", [key for key, value in CHANGES.items() if value is not None])
def test_every_key_reaches_the_plan(key, digits_facts):
    value = json.dumps(CHANGES[key])
    assert plan_with(f"{key}={value}", digits_facts).digest != plan_with(None, digits_facts).digest


def test_no_key_was_forgotten_above():
    leaves = {
        path
        for path, key in catalogue().items()
        if not key.is_table and not path.startswith("expect")
    }
    assert leaves == set(CHANGES) | ONE_VALUE_SO_FAR


def test_schema_knows_every_key_and_no_null():
    text = json.dumps(json_schema())
    assert '"null"' not in text
    for key in catalogue().values():
        assert f'"{key.name}"' in text


@given(st.floats(min_value=1e-9, max_value=1e6), st.integers(1, 131), st.integers(0, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_spec_survives_toml_and_back(rate, ipc, seed):
    values = {
        "ddspec": 1,
        "name": "x",
        "seed": seed,
        "dataset": {"name": "digits"},
        "synthetic": {"ipc": ipc, "images": {"lr": rate}},
    }
    spec = Spec.model_validate(values)
    import tomli_w

    from ddspec.dsl.spec import resolved

    assert parse_spec(tomli_w.dumps(dict(resolved(spec))), "t").spec == spec
