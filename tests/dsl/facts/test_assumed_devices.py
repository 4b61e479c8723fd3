"""Speeds assumed for GPUs: in proportion to peak figures, and near what was measured on one."""

import re
from pathlib import Path
from typing import get_args

import pytest

from ddspec.dsl.facts.assumed_devices import H200, PEAKS, assumed_machine, assumption_text
from ddspec.dsl.facts.datasets import with_held_out
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.facts.network_sizes import network_size
from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.pass_costs import GRADIENT
from ddspec.dsl.plan.routes import FLOAT
from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.terms import AssumedDevice

ROOT = Path(__file__).parents[3]
DEVICES = get_args(AssumedDevice)


def test_every_device_has_peak_figures_with_a_source():
    assert set(PEAKS) == set(DEVICES)
    assert all(peak.source and peak.name for peak in PEAKS.values())


@pytest.mark.parametrize("device", DEVICES)
def test_speeds_are_in_proportion_to_the_peak_figures(device):
    machine, h200 = assumed_machine(device), PEAKS["h200"]
    rates, peak = machine.known_rates, PEAKS[device]
    speed = rates.one_thread
    assert rates.all_threads == speed and machine.device == "cuda" and not rates.measured
    assert speed.layer == H200.layer
    assert speed.flops / H200.flops == pytest.approx(peak.flops / h200.flops)
    assert speed.bandwidth / H200.bandwidth == pytest.approx(peak.bandwidth / h200.bandwidth)
    assert rates.memory == peak.memory


def test_speeds_of_the_h200_follow_from_the_benchmark():
    """Solve for time per layer and arithmetic, from a gradient on 10 and on 100 images."""
    text = (ROOT / "benchmarks" / "results" / "2026-11-26-h200-first.md").read_text()
    row = r"^\| gradient, batch {} \| 77 \| ([\d.]+) \|"
    found = [re.search(row.format(batch), text, re.MULTILINE) for batch in (10, 100)]
    replays = [1e-3 * float(match[1]) for match in found]
    assert f"a copy's {H200.bandwidth / 1e12:g} TB/s" in text
    size = network_size(ConvNet(), 3, 32, 32, 10)
    each = (replays[1] - replays[0]) / 90 / GRADIENT
    flops = 2 * size.multiply_adds / (each - FLOAT * size.activations / H200.bandwidth)
    layer = (replays[0] / GRADIENT - 10 * each) / size.blocks
    assert H200.flops == pytest.approx(flops, rel=0.01)
    assert H200.layer == pytest.approx(layer, rel=0.01)


@pytest.mark.parametrize("device", DEVICES)
def test_text_says_that_speeds_are_assumed(device):
    words = assumption_text(device)
    assert words.startswith(f"assumed for {PEAKS[device].name}, not measured")
    assert (PEAKS[device].source in words) == (device != "h200")


@pytest.mark.parametrize(
    ("run", "less"),
    [("mtt_cifar10_ipc1", 0.13), ("dm_cifar10_ipc1_seed0", 0.43), ("dsa_cifar10_ipc1_seed0", 0.57)],
)
def test_guide_states_how_far_the_estimate_is_from_measured_times(run, less):
    record = Record.model_validate_json((ROOT / "reproductions" / run / "record.json").read_text())
    assert record.environment.device == "NVIDIA H200"
    spec, facts = parse_spec(record.resolved, "x").spec, with_held_out(record.plan.dataset.facts)
    plan = compile_spec(spec, facts, assumed_machine("h200"))
    measured = next(step for step in record.steps if step.id == "distill").seconds_when_made
    assert 1 - plan.distill.estimate.seconds / measured == pytest.approx(less, abs=0.006)
    assert (
        f"{less:.0%}".replace("%", " %") in (ROOT / "docs" / "guides" / "commands.md").read_text()
    )


def test_assumed_device_changes_no_digest(digits_facts):
    spec = parse_spec((ROOT / "specs" / "digits_ipc1.toml").read_text(), "x").spec
    plans = [compile_spec(spec, digits_facts, assumed_machine(device)) for device in DEVICES]
    here = compile_spec(spec, digits_facts, Machine("cpu", 2))
    assert {plan.digest for plan in plans} == {here.digest}
