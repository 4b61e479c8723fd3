"""Measuring how fast this machine passes batches through networks, and what it begins with.

Three small networks whose passes are ruled by different things (calls, arithmetic, memory traffic)
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
from ddspec.dsl.spec.experiment import ConvNet
from ddspec.dsl.terms import Device
from ddspec.engine.machine.memory import keep_freed_memory, memory_in_use, total_memory
from ddspec.engine.networks.flat_network import FlatNetwork, build_module, flat_network_of, flatten

PROBES = (
    (ConvNet(depth=2, width=16), 8, 4),
    (ConvNet(depth=3, width=16), 32, 64),
    (ConvNet(depth=3, width=128), 32, 8),
)
"""Network, pixels a side, images in a batch."""
SECONDS_EACH, TURNS, QUICK = 0.3, 5, 0.3
"""How long a probe is timed, in how many turns, and the quantile of its times that counts."""


def measure_rates(device: Device, cores: int) -> Rates:
    """The rates of the machine at hand."""
    threads, base = torch.get_num_threads(), memory_in_use()
    keep_freed_memory()
    try:
        alone = measure_speed(torch.device(device), 1)
        together = (
            measure_speed(torch.device(device), cores) if device == "cpu" and cores > 1 else alone
        )
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
    """Time the probes and solve for what a layer, an operation and a byte cost.

    They take turns, and of many times the quicker ones count: what else the machine does for a
    moment is no part of its speed.
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
    found: list[list[float]] = [[] for _ in passes]
    for _ in range(TURNS):
        for times, timed in zip(found, passes, strict=True):
            until = time.perf_counter() + SECONDS_EACH / TURNS
            times.append(timed())
            while time.perf_counter() < until:
                times.append(timed())
    return solve_speed(counts, [float(np.quantile(times, QUICK)) for times in found])


@torch.no_grad()
def pass_seconds(net: FlatNetwork, theta: Tensor, images: Tensor) -> float:
    """Seconds of one forward pass."""
    began = time.perf_counter()
    net(theta, images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - began


def solve_speed(counts: Sequence[Sequence[float]], seconds: Sequence[float]) -> Speed:
    """Rates that explain the times, none of them negative."""
    from scipy.optimize import lsq_linear

    # Relative to the times, so that the short ones count as much; as shares of the largest.
    matrix = np.asarray(counts) / np.asarray(seconds)[:, None]
    scale = matrix.max(axis=0)
    fitted = lsq_linear(matrix / scale, np.ones(len(seconds)), bounds=(1e-3, np.inf))
    layer, operation, byte = map(float, fitted.x / scale)
    return Speed(layer=layer, flops=1 / operation, bandwidth=1 / byte)
