"""Measured rates explain the times they were measured from, and are measured once."""

import numpy as np
import pytest
import torch

from ddspec.dsl.facts.machine import Machine, Rates, Speed
from ddspec.engine.machine import speed_probe as probe
from ddspec.engine.machine.speed import with_rates
from ddspec.engine.store.store import Store

SPEED = Speed(layer=1e-4, flops=2e11, bandwidth=5e9)
RATES = Rates(one_thread=SPEED, all_threads=SPEED, base_memory=1, memory=2**34, measured=True)


def test_solved_rates_explain_the_times():
    counts = [[3.0, 1e6, 1e5], [4.0, 3e8, 2e7], [4.0, 8e8, 1e7]]
    costs = np.array([1 / 1.0e4, 1 / SPEED.flops, 1 / SPEED.bandwidth])
    speed = probe.solve_speed(counts, list(np.array(counts) @ costs))
    assert speed.layer == pytest.approx(SPEED.layer, rel=1e-3)
    assert speed.flops == pytest.approx(SPEED.flops, rel=1e-3)
    assert speed.bandwidth == pytest.approx(SPEED.bandwidth, rel=1e-3)


def test_rates_are_positive_however_strange_the_times():
    speed = probe.solve_speed(
        [[3.0, 1e6, 1e5], [4.0, 3e8, 2e7], [4.0, 8e8, 1e7]], [1.0, 1e-6, 1e-3]
    )
    assert min(speed.layer, speed.flops, speed.bandwidth) > 0


def test_rates_are_measured_once_and_again_if_the_note_is_damaged(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(probe, "measure_rates", lambda device, cores: calls.append(1) or RATES)
    store, machine = Store(tmp_path), Machine("cpu", 2)
    assert with_rates(machine, store).rates == RATES
    assert with_rates(machine, store).rates == RATES
    assert len(calls) == 1
    assert with_rates(Machine("cpu", 1), store).rates == RATES
    assert len(calls) == 2
    for note in (tmp_path / "notes").glob("rates-*"):
        note.write_text('{"one_thread": 3}')
    with_rates(machine, store)
    assert len(calls) == 3


def test_measured_rates_are_plausible(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS_EACH", 0.02)
    threads = torch.get_num_threads()
    rates = probe.measure_rates("cpu", 2)
    assert rates.measured
    assert 1e8 < rates.all_threads.flops < 1e15
    assert rates.base_memory > 2**26
    assert torch.get_num_threads() == threads
