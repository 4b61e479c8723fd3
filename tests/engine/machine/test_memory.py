"""The peak memory of a block is that of what ran inside."""

import gc

import numpy as np
import torch

from ddspec.dsl import available_memory
from ddspec.engine.machine import memory
from ddspec.engine.machine.memory import memory_in_use, peak_memory, status_bytes, total_memory

CPU = torch.device("cpu")


def test_peak_is_of_what_ran_inside():
    size = 2**28
    memory.reset_peak(CPU)  # Memory that earlier tests freed would be used again.
    before = memory_in_use()
    with peak_memory(CPU) as large:
        array = np.ones(size, dtype=np.uint8)
        del array
    gc.collect()
    assert large.bytes > before + 0.9 * size
    if not memory.PEAK_RESET.exists():
        return
    with peak_memory(CPU) as small:
        pass
    assert small.bytes < large.bytes - 0.5 * size


def test_process_uses_less_than_the_machine_has():
    assert 0 < memory_in_use() < total_memory(CPU)


def test_limit_of_a_container_counts_if_it_is_a_number(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(available_memory, "CONTAINER", tmp_path)
    machine = total_memory(CPU)
    limit.write_text("max\n")
    assert total_memory(CPU) == machine
    limit.write_text("1000000\n")
    assert total_memory(CPU) == 1_000_000


def test_status_is_read_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert status_bytes("VmHWM") == 0
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\n")
    assert status_bytes("VmHWM") == 2048 * 1024
    assert status_bytes("VmRSS") == 0
