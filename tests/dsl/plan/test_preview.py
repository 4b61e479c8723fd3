"""Previews: every stage and all classes, shrunk in proportion until they take minutes."""

from pathlib import Path

import pytest
import tomli_w

from ddspec.dsl.facts.datasets import known_facts
from ddspec.dsl.facts.machine import ROUND_RATES, Machine
from ddspec.dsl.parsing.loader import LoadedSweep, load_spec, load_spec_or_sweep, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.preview import (
    PREVIEW_SECONDS,
    changed_settings,
    estimated_seconds,
    fewer_epochs,
    preview_draft,
    preview_of,
    settings_of,
)
from ddspec.dsl.rules.checks import check
from ddspec.dsl.spec.experiment import Spec, resolved
from tests.in_slow_run import first_by_default

ROOT = Path(__file__).parents[3] / "specs"
SPECS = [path for path in sorted(ROOT.rglob("*.toml")) if not path.name.startswith("ablation_")]
MACHINE = Machine("cpu", 2)


def first_of(path):
    """The spec of a file, or the first of those that it sweeps."""
    loaded = load_spec_or_sweep(path)
    return loaded.members[0].loaded.spec if isinstance(loaded, LoadedSweep) else loaded.spec


def read_facts(spec):
    """Return the facts of a spec's dataset as if its images had been read."""
    return known_facts(spec.dataset).model_copy(update={"fingerprint": "0" * 32})


@pytest.mark.parametrize(
    "path",
    first_by_default(SPECS, 12),
    ids=lambda path: "_".join(path.relative_to(ROOT).with_suffix("").parts),
)
def test_every_shipped_spec_has_a_preview_that_is_checked_and_marked(path):
    spec = first_of(path)
    facts = read_facts(spec)
    small = preview_of(spec, facts, MACHINE)
    plan, whole = compile_spec(small, facts, MACHINE), compile_spec(spec, facts, MACHINE)
    assert not [finding for finding in check(small, facts) if finding.severity == "error"]
    assert estimated_seconds(small, facts, MACHINE) <= 1.5 * PREVIEW_SECONDS
    assert plan.preview == small.preview != ()
    assert "preview" in plan.folder
    assert not {step.digest for step in plan.steps} & {step.digest for step in whole.steps}
    assert plan.step("dataset").facts.class_names == whole.step("dataset").facts.class_names
    assert {step.kind for step in plan.steps} == {step.kind for step in whole.steps}
    assert preview_of(small, facts, MACHINE) == small
    again = parse_spec(tomli_w.dumps(dict(resolved(small))), "resolved.toml")
    assert compile_spec(again.spec, facts, MACHINE) == plan


def test_preview_of_a_part_of_the_classes_takes_smaller_batches():
    spec = load_spec(ROOT / "mtt" / "tiny_imagenet_ipc10.toml").spec
    facts = read_facts(spec)
    few = {"class_names": facts.class_names[:10], "train_per_class": (200,) * 10}
    part = facts.model_copy(update={**few, "test_per_class": (50,) * 10})
    small = preview_of(spec, part, MACHINE)
    assert small.matching.batch_syn == 100
    assert "10 of the 200 classes of tiny_imagenet are present" in small.preview
    assert not [finding for finding in check(small, part) if finding.severity == "error"]


def test_a_faster_machine_shrinks_less():
    spec = load_spec(ROOT / "mtt" / "cifar10_ipc10.toml").spec
    facts = read_facts(spec)
    slow = ROUND_RATES["cpu"].one_thread
    works = []
    for factor in (1, 10, 100):
        speed = slow.model_copy(
            update={
                "layer": slow.layer / factor,
                "flops": slow.flops * factor,
                "bandwidth": slow.bandwidth * factor,
            }
        )
        rates = ROUND_RATES["cpu"].model_copy(update={"one_thread": speed, "all_threads": speed})
        small = preview_of(spec, facts, Machine("cpu", 1, rates))
        works.append(estimated_seconds(small, facts, MACHINE))
    assert works == sorted(works)
    assert works[0] < works[2]


def test_preview_lists_exactly_the_keys_that_differ():
    spec = load_spec(ROOT / "cifar100_ipc10.toml").spec
    small = preview_of(spec, read_facts(spec), MACHINE)
    before, after = settings_of(spec), settings_of(small)
    differing = {key for key in before | after if before.get(key) != after.get(key)} - {"preview"}
    assert differing == {line.partition(":")[0] for line in small.preview}
    assert f"experts.count: {spec.experts.count} -> {small.experts.count}" in small.preview
    assert list(changed_settings(spec, spec)) == []
    # A key that only one of them sets is listed too.
    count = small.dataset.images_per_class
    assert f"dataset.images_per_class: {count} -> all" in changed_settings(small, spec)


def test_preview_keeps_at_most_what_the_spec_asks_for():
    """Nothing that costs time grows, whatever the spec."""
    costly = (
        "experts.count",
        "experts.epochs",
        "experts.batch_size",
        "matching.iterations",
        "matching.syn_steps",
        "matching.expert_epochs",
        "network.width",
        "network.depth",
        "synthetic.ipc",
        "evaluation.repeats",
        "evaluation.epochs",
    )
    for path in SPECS:
        spec = first_of(path)
        before = settings_of(spec)
        after = settings_of(preview_draft(spec, read_facts(spec)))
        for key in costly:
            assert after.get(key, 0) <= before.get(key, 0), (path, key)


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (1, 1), (20, 5)])
def test_training_of_control_points_shrinks_with_that_of_their_experts(asked, kept):
    text = (ROOT / "digits_bezier_ipc10.toml").read_text()
    spec = parse_spec(text, "spec.toml", [f"trajectory.epochs={asked}"]).spec
    values = spec.model_dump(mode="json", exclude_none=True)
    fewer_epochs(values, 12)  # of 50
    assert values["trajectory"]["epochs"] == kept


@pytest.mark.parametrize("epochs", [3, 5, 8, 20])
def test_epochs_that_count_in_the_experts_shrink_in_proportion(epochs):
    text = (ROOT / "digits_datm_ipc10.toml").read_text()
    spec = parse_spec(
        text,
        "spec.toml",
        [
            "experts.epochs=100",
            "experts.lr_decay={epoch=50, factor=0.5}",
            "experts.data_order={first_share=0.75, all_from_epoch=20, drop_from_epochs=[41, 61], "
            "drop_shares=[0.1, 0.2]}",
            "experts.smoothing.clipped_loss={epochs=20}",
            "matching.max_start_epoch=60",
            "matching.min_start_epoch=0",
            "matching.start_range={name='growing', first_bound=20, iterations=100}",
            "matching.iterations=200",
            "matching.expert_epochs=1",
        ],
    ).spec
    values = spec.model_dump(mode="json", exclude_none=True)
    fewer_epochs(values, epochs)
    share = epochs / 100
    assert values["experts"]["epochs"] == epochs
    assert abs(values["experts"]["lr_decay"]["epoch"] - 50 * share) <= 1
    assert abs(values["experts"]["smoothing"]["clipped_loss"]["epochs"] - 20 * share) <= 1
    order = values["experts"]["data_order"]
    assert abs(order["all_from_epoch"] - 20 * share) <= 1
    assert all(
        abs(drop - before * share) <= 1
        for drop, before in zip(order["drop_from_epochs"], (41, 61), strict=True)
    )
    assert abs(values["matching"]["max_start_epoch"] - 60 * share) <= 1
    shrunk = Spec.model_validate(values)
    errors = [finding for finding in check(shrunk, None) if finding.severity == "error"]
    assert not errors
    again = shrunk.model_dump(mode="json", exclude_none=True)
    fewer_epochs(again, epochs)
    assert again == values
