"""What estimates rest on: rates that explain measured times, and the peak of a process."""

import gc

import numpy as np
import pytest
import torch

from ddspec.dsl.facts.machine import Machine, Rates, Speed
from ddspec.engine.machine import memory
from ddspec.engine.machine import speed_probe as probe
from ddspec.engine.machine.memory import memory_in_use, peak_memory
from ddspec.engine.machine.speed import with_rates
from ddspec.engine.store.store import Store

SPEED = Speed(layer=1e-4, flops=2e11, bandwidth=5e9)
RATES = Rates(one_thread=SPEED, all_threads=SPEED, base_memory=1, memory=2**34, measured=True)


def test_rates_are_those_that_explain_the_times():
    counts = [[3.0, 1e6, 1e5], [4.0, 3e8, 2e7], [4.0, 8e8, 1e7]]
    costs = np.array([1 / 1.0e4, 1 / SPEED.flops, 1 / SPEED.bandwidth])
    found = probe.solve_speed(counts, list(np.array(counts) @ costs))
    assert found.layer == pytest.approx(SPEED.layer, rel=1e-3)
    assert found.flops == pytest.approx(SPEED.flops, rel=1e-3)
    assert found.bandwidth == pytest.approx(SPEED.bandwidth, rel=1e-3)


def test_no_rate_is_negative_however_strange_the_times():
    found = probe.solve_speed(
        [[3.0, 1e6, 1e5], [4.0, 3e8, 2e7], [4.0, 8e8, 1e7]], [1.0, 1e-6, 1e-3]
    )
    assert min(found.layer, found.flops, found.bandwidth) > 0


def test_rates_are_measured_once_and_again_where_the_note_is_unreadable(tmp_path, monkeypatch):
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


def test_probes_take_about_as_long_as_they_say(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS_EACH", 0.02)
    threads = torch.get_num_threads()
    found = probe.measure_rates("cpu", 2)
    assert found.measured
    assert 1e8 < found.all_threads.flops < 1e15
    assert found.base_memory > 2**26
    assert torch.get_num_threads() == threads


def test_peak_is_of_what_ran_inside():
    size = 2**28
    before = memory_in_use()
    with peak_memory(torch.device("cpu")) as large:
        array = np.ones(size, dtype=np.uint8)
        del array
    gc.collect()
    assert large.bytes > before + 0.9 * size
    if not memory.PEAK_RESET.exists():
        return
    with peak_memory(torch.device("cpu")) as small:
        pass
    assert small.bytes < large.bytes - 0.5 * size
