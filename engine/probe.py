"""Measuring how fast this machine passes batches through networks, and what it begins with.

Three small networks whose passes are ruled by different things (calls, arithmetic, memory traffic)
give the three rates of `Speed`.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch

from ddspec.dsl.estimate import FLOAT, Rates, Speed
from ddspec.dsl.sizes import network_size
from ddspec.dsl.spec import ConvNet
from ddspec.dsl.terms import Device
from ddspec.engine.memory import keep_freed_memory, memory_in_use, whole_memory
from ddspec.engine.networks import build

PROBES = (
    (ConvNet(depth=2, width=16), 8, 4),
    (ConvNet(depth=3, width=16), 32, 64),
    (ConvNet(depth=3, width=128), 32, 8),
)
"""Network, pixels a side, images in a batch."""
SECONDS_EACH = 0.25


def measured(device: Device, cores: int) -> Rates:
    """The rates of the machine at hand."""
    threads, base = torch.get_num_threads(), memory_in_use()
    keep_freed_memory()
    try:
        alone = speed_on(torch.device(device), 1)
        together = speed_on(torch.device(device), cores) if device == "cpu" and cores > 1 else alone
    finally:
        torch.set_num_threads(threads)
    return Rates(
        one_thread=alone,
        all_threads=together,
        base_memory=base,
        memory=whole_memory(torch.device(device)),
        measured=True,
    )


def speed_on(device: torch.device, threads: int) -> Speed:
    """Time the probes and solve for what a layer, an operation and a byte cost."""
    torch.set_num_threads(threads)
    counts, seconds = [], []
    for net, side, batch in PROBES:
        size = network_size(net, 3, side, side, 10)
        per_pass = (size.blocks, 2 * size.multiply_adds * batch, FLOAT * size.activations * batch)
        counts.append([float(count) for count in per_pass])
        module = build(net, 3, side, side, 10).to(device)
        seconds.append(pass_seconds(module, torch.zeros(batch, 3, side, side, device=device)))
    return solved(counts, seconds)


@torch.no_grad()
def pass_seconds(module: torch.nn.Module, images: torch.Tensor) -> float:
    """Seconds of one forward pass: the median of many."""

    def once() -> float:
        began = time.perf_counter()
        module(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - began

    once()
    found, until = [once()], time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < until or len(found) < 3:
        found.append(once())
    return float(np.median(found))


def solved(counts: Sequence[Sequence[float]], seconds: Sequence[float]) -> Speed:
    """Rates that explain the times, none of them negative."""
    from scipy.optimize import lsq_linear

    # Relative to the times, so that the short ones count as much; as shares of the largest.
    matrix = np.asarray(counts) / np.asarray(seconds)[:, None]
    scale = matrix.max(axis=0)
    fitted = lsq_linear(matrix / scale, np.ones(len(seconds)), bounds=(1e-3, np.inf))
    layer, operation, byte = map(float, fitted.x / scale)
    return Speed(layer=layer, flops=1 / operation, bandwidth=1 / byte)
