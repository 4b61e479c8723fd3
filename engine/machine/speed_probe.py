"""Measuring how fast this machine passes batches through networks, and its memory at rest.

Three small networks, whose passes are dominated by calls, by arithmetic and by memory traffic,
give the three rates of `Speed`.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.facts.machine import Rates, Speed
from ddspec.dsl.facts.network_sizes import network_size
from ddspec.dsl.plan.routes import FLOAT
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.terms import Device
from ddspec.engine.machine.memory import keep_freed_memory, memory_in_use, total_memory
from ddspec.engine.networks.flat_network import FlatNetwork, build_module, flat_network_of, flatten

PROBES = (
    (ConvNet(depth=2, width=16), 8, 4),
    (ConvNet(depth=3, width=16), 32, 64),
    (ConvNet(depth=3, width=128), 32, 8),
)
"""Network, side of its images in pixels, and batch size of every probe."""

SECONDS_EACH = 0.3
"""Seconds for which each probe is timed in total."""

TURNS = 5
"""Number of turns in which each probe is timed."""

QUANTILE = 0.3
"""Quantile of a probe's times that counts."""


def measure_rates(device: Device, cores: int) -> Rates:
    """Measure the rates of this machine."""
    threads, base = torch.get_num_threads(), memory_in_use()
    keep_freed_memory()
    try:
        alone = measure_speed(torch.device(device), 1)
        together = alone
        if device == "cpu" and cores > 1:
            together = measure_speed(torch.device(device), cores)
    finally:
        torch.set_num_threads(threads)
    return Rates(
        one_thread=alone,
        all_threads=together,
        base_memory=base,
        memory=total_memory(torch.device(device)),
        measured=True,
    )


def measure_speed(device: torch.device, threads: int) -> Speed:
    """Time the probes, and solve for the costs of a layer, an operation and a byte.

    The probes take turns, and a low quantile of their times counts: whatever else the machine
    does for a moment is not part of its speed.
    """
    torch.set_num_threads(threads)
    counts, passes = [], []
    for net, side, batch in PROBES:
        size = network_size(net, 3, side, side, 10)
        per_pass = (size.blocks, 2 * size.multiply_adds * batch, FLOAT * size.activations * batch)
        counts.append([float(count) for count in per_pass])
        module = build_module(net, 3, side, side, 10)
        theta = flatten(list(module.parameters())).to(device)
        images = torch.zeros(batch, 3, side, side, device=device)
        passes.append(partial(pass_seconds, flat_network_of(module), theta, images))
    times: list[list[float]] = [[] for _ in passes]
    for _ in range(TURNS):
        for probe_times, time_pass in zip(times, passes, strict=True):
            until = time.perf_counter() + SECONDS_EACH / TURNS
            probe_times.append(time_pass())
            while time.perf_counter() < until:
                probe_times.append(time_pass())
    return solve_speed(counts, [float(np.quantile(each, QUANTILE)) for each in times])


@torch.no_grad()
def pass_seconds(net: FlatNetwork, theta: Tensor, images: Tensor) -> float:
    """Return the seconds of one forward pass."""
    began = time.perf_counter()
    net(theta, images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)  # Kernels run after their calls have returned.
    return time.perf_counter() - began


def solve_speed(counts: Sequence[Sequence[float]], seconds: Sequence[float]) -> Speed:
    """Return the speed that explains the times best, with all rates positive.

    `counts` holds layers, operations and bytes of each timed pass.
    """
    from scipy.optimize import lsq_linear

    # Rows are divided by their times, so that short ones count as much; columns by their largest
    # entries, so that the solution does not depend on units.
    matrix = np.asarray(counts) / np.asarray(seconds)[:, None]
    scale = matrix.max(axis=0)
    fitted = lsq_linear(matrix / scale, np.ones(len(seconds)), bounds=(1e-3, np.inf))
    layer, operation, byte = map(float, fitted.x / scale)
    return Speed(layer=layer, flops=1 / operation, bandwidth=1 / byte)
