"""Speeds that an estimate assumes for a GPU that is not here: scaled, not measured on it.

The speeds of the H200 follow from times that were measured on one (`H200`). Those of another GPU
have the H200's time per layer, which is that of launching kernels by the host, and its arithmetic
and traffic in proportion to the peak figures that the vendor publishes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ddspec.dsl.facts.machine import ROUND_RATES, Machine, Rates, Speed
from ddspec.dsl.terms import AssumedDevice


@dataclass(frozen=True)
class Peak:
    """Peak figures of a GPU, as its vendor publishes them."""

    name: str
    flops: float
    """Operations per second in float32, without tensor cores."""
    bandwidth: float
    """Bytes of memory per second."""
    memory: int
    """Bytes of memory."""
    source: str


PEAKS: Mapping[AssumedDevice, Peak] = {
    "a100": Peak("NVIDIA A100 SXM 80 GB", 19.5e12, 2.039e12, 80 * 10**9, "NVIDIA A100 data sheet"),
    "h100": Peak("NVIDIA H100 SXM", 67e12, 3.35e12, 80 * 10**9, "NVIDIA H100 data sheet, SXM5"),
    "h200": Peak("NVIDIA H200 SXM", 67e12, 4.8e12, 141 * 10**9, "NVIDIA H200 data sheet, SXM"),
    "rtx4090": Peak(
        "NVIDIA GeForce RTX 4090",
        82.6e12,
        1.008e12,
        24 * 10**9,
        "NVIDIA Ada GPU architecture white paper",
    ),
}

H200 = Speed(layer=4.8e-5, flops=1.4e13, bandwidth=4.1e12)
"""From benchmarks/results/2026-11-26-h200-first.md: the bandwidth of a copy; time per layer and
arithmetic from the replayed gradient of CIFAR-10's ConvNet on 10 and on 100 images, in float32."""


def assumed_machine(device: AssumedDevice) -> Machine:
    """Return a machine with a GPU that need not be here, and the speeds assumed for it."""
    peak, measured = PEAKS[device], PEAKS["h200"]
    speed = Speed(
        layer=H200.layer,
        flops=H200.flops * peak.flops / measured.flops,
        bandwidth=H200.bandwidth * peak.bandwidth / measured.bandwidth,
    )
    rates = Rates(
        one_thread=speed,
        all_threads=speed,
        base_memory=ROUND_RATES["cuda"].base_memory,
        memory=peak.memory,
        measured=False,
    )
    return Machine("cuda", cores=1, rates=rates)


def assumption_text(device: AssumedDevice) -> str:
    """Return in words from which speeds an estimate for an assumed GPU is."""
    peak = PEAKS[device]
    if device == "h200":
        return f"assumed for {peak.name}, not measured here: from benchmarks of ddspec on one"
    figures = f"{peak.flops / 1e12:g} TFLOP/s, {peak.bandwidth / 1e12:g} TB/s"
    return (
        f"assumed for {peak.name}, not measured: those of an H200 in proportion to the peak "
        f"figures, {figures}, {peak.source}"
    )
