"""Every shipped spec compiles, and its header says where it comes from and what it costs."""

import json
from pathlib import Path

import pytest

from ddspec.dsl.facts.datasets import known_facts
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing import source
from ddspec.dsl.parsing.loader import LoadedSweep, load_spec, load_spec_or_sweep
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.record.deviations import deviations
from ddspec.dsl.reference.schema import json_schema

ROOT = Path(__file__).parent.parent / "specs"
SWEEPS = sorted(ROOT.glob("ablation_*.toml"))
SPECS = [path for path in sorted(ROOT.rglob("*.toml")) if path not in SWEEPS]


def named(path):
    """What a spec is called: by its file, and by its method's folder where it has one."""
    return "_".join(path.relative_to(ROOT).with_suffix("").parts)


def first_of(path):
    """The spec of a file; of one that sweeps its seed, the first of several that differ in it."""
    loaded = load_spec_or_sweep(path)
    if isinstance(loaded, LoadedSweep):
        assert [axis.name for axis in loaded.axes] == ["seed"]
        return loaded.members[0].loaded
    return loaded


def compiled(spec):
    """The plan of a spec as if its images had been read."""
    facts = known_facts(spec.dataset).model_copy(update={"fingerprint": "0" * 32})
    return compile_spec(spec, facts, Machine("cpu", 2))


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_shipped_spec_compiles_without_a_warning(path):
    loaded = first_of(path)
    assert loaded.warnings == ()
    assert compiled(loaded.spec).name == named(path)


@pytest.mark.parametrize("path", SWEEPS, ids=named)
def test_every_run_of_a_shipped_sweep_compiles_without_a_warning(path):
    loaded = load_spec_or_sweep(path)
    assert len(loaded.members) > 1
    for member in loaded.members:
        assert member.loaded.warnings == ()
        changed = [change.key for change in member.combination.changes]
        for deviation in deviations(member.loaded.spec):
            # What an ablation takes away departs from the paper on purpose.
            assert any(
                deviation.key == key or deviation.key.startswith(f"{key}.") for key in changed
            )
        assert compiled(member.loaded.spec).name == named(path)


@pytest.mark.parametrize("path", SWEEPS, ids=named)
def test_header_of_a_sweep_has_an_accuracy_for_every_run(path):
    header = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    for member in load_spec_or_sweep(path).members:
        # Runs that differ in their seed alone share a line.
        cases = [entry for entry in member.combination.entries if "seed = " not in entry.label]
        assert f"{', '.join(case.label for case in cases)}:" in header


@pytest.mark.parametrize("path", [*SPECS, *SWEEPS], ids=named)
def test_header_states_source_accuracy_and_cost(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("# Source:", "# Accuracy:", "# Cost:"):
        assert any(line.startswith(word) for line in header), word
    assert any("hours" in line and "GPU" in line for line in header)


def test_spec_is_parsed_as_toml_once(monkeypatch):
    texts = []
    loads = source.tomli.loads
    monkeypatch.setattr(source.tomli, "loads", lambda text: texts.append(text) or loads(text))
    for path in SPECS:
        load_spec_or_sweep(path)
    assert len(texts) == len(SPECS) >= 130


MTT = {
    "cifar10_ipc1": (50, 2, 2, None, True),
    "cifar10_ipc10": (30, 2, 20, None, True),
    "cifar10_ipc50": (30, 2, 40, None, False),
    "cifar100_ipc1": (20, 3, 20, None, True),
    "cifar100_ipc10": (20, 2, 20, None, False),
    "cifar100_ipc50": (80, 2, 40, 125, True),
    "tiny_imagenet_ipc1": (10, 2, 10, None, False),
    "tiny_imagenet_ipc10": (20, 2, 40, 200, False),
    "tiny_imagenet_ipc50": (20, 2, 40, 300, False),
    "imagenette_ipc1": (20, 2, 10, None, False),
    "imagenette_ipc10": (20, 2, 10, 20, False),
}
"""MTT's cells as its author gave them: N, M, T+, batch, whitening."""

GIGABYTES = {
    "mtt/cifar10_ipc10": 6.53,
    "mtt/cifar100_ipc10": 10.3,
    "mtt/tiny_imagenet_ipc10": 17.5,
    "mtt/imagenette_ipc10": 12.6,
    "datm/cifar10_ipc10": 12.9,
    "datm/cifar100_ipc10": 20.4,
    "datm/tiny_imagenet_ipc10": 34.6,
}
"""All snapshots of 100 experts in float32, 51 each, or DATM's 101."""


@pytest.mark.parametrize("cell", MTT)
def test_plan_of_mtts_cell_has_its_authors_windows_and_trains_no_further(cell):
    steps, window, bound, batch, zca = MTT[cell]
    plan = compiled(load_spec(ROOT / "mtt" / f"{cell}.toml").spec)
    matching = plan.step("distill").matching
    assert (matching.syn_steps, matching.expert_epochs) == (steps, window)
    assert (matching.max_start_epoch, matching.batch_syn) == (bound, batch)
    assert plan.step("dataset").dataset.zca == zca
    epochs = [member.epochs for member in plan.step("experts").members]
    assert epochs == [50] + [bound - 1 + window] * 99


@pytest.mark.parametrize("cell", GIGABYTES)
def test_snapshots_take_the_bytes_that_the_field_reports(cell):
    plan = compiled(load_spec(ROOT / f"{cell}.toml").spec)
    experts = plan.step("experts")
    snapshots = len(experts.members) * (experts.recipe.experts.epochs + 1)
    assert 4 * plan.network_parameters * snapshots / 1e9 == pytest.approx(GIGABYTES[cell], rel=5e-3)


@pytest.mark.parametrize("path", SPECS, ids=named)
def test_published_number_stands_in_the_header_with_its_source(path):
    header = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    for expected in first_of(path).spec.expect:
        assert f"{expected.accuracy}" in header
        assert expected.source in header
        assert "[mem]" not in header
        assert expected.n is not None or expected.n_source is None


@pytest.mark.parametrize("path", SWEEPS, ids=named)
def test_published_numbers_of_a_sweep_stand_in_its_header_at_their_cases(path):
    header = " ".join(
        line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#")
    )
    for member in load_spec_or_sweep(path).members:
        for expected in member.loaded.spec.expect:
            assert f"{member.combination.label}: {expected.accuracy} %" in header
            assert expected.source in header


def test_specs_of_papers_in_their_reading_depart_from_nothing():
    for path in SPECS:
        keys = {deviation.key for deviation in deviations(first_of(path).spec)}
        if path.parent.name == "ast_code":
            assert "matching.student_momentum" in keys
        else:
            assert not keys, path


def test_committed_schema_is_the_one_of_the_language():
    committed = Path(__file__).parent.parent / "specs" / "schema.json"
    assert json.loads(committed.read_text()) == json_schema()


@pytest.mark.parametrize("path", sorted(ROOT.glob("random/*.toml")), ids=named)
def test_random_images_cost_one_evaluation_and_no_expert(path):
    kinds = [step.kind for step in compiled(first_of(path).spec).steps]
    assert kinds == ["dataset", "initialise", "distill", "evaluate"]


LOOPS = {1: (1, 1), 10: (10, 50), 50: (50, 10)}
"""Pixel steps, and network epochs between them, by images per class, of DC's public code."""


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("dc/*.toml"), *ROOT.glob("dsa/*.toml")]), ids=named
)
def test_cells_of_dc_and_dsa_have_the_loops_of_the_public_code(path):
    spec = first_of(path).spec
    assert (spec.matching.outer_steps, spec.matching.network_epochs) == LOOPS[spec.synthetic.ipc]
    assert spec.matching.iterations == 1000
    assert spec.augmentation.siamese == (path.parent.name == "dsa")
    assert bool(spec.augmentation.families) == (path.parent.name == "dsa")
    assert spec.evaluation.lr == 0.01 and spec.evaluation.repeats == 20
    published = [e for e in spec.expect if len(spec.evaluation.networks) == 1]
    assert all((e.over, e.n, e.choose) == ("sweep", 100, "last") for e in published)


@pytest.mark.parametrize(
    ("method", "cells"), [("dc", 14), ("dsa", 15), ("dm", 12), ("cafe", 15), ("cafe_dsa", 6)]
)
def test_every_published_cell_of_these_methods_has_a_spec(method, cells):
    paths = [p for p in ROOT.glob(f"{method}/*.toml") if not p.stem.endswith("_networks")]
    assert len(paths) == cells
