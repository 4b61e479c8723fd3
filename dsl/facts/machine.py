"""The properties of the machine on which routes and estimates depend."""

from dataclasses import dataclass

from ddspec.dsl.document import Document
from ddspec.dsl.terms import Device


class Speed(Document):
    """The speed of a device on some number of threads."""

    layer: float
    """Seconds per layer and pass, for a batch of any size."""
    flops: float
    """Floating-point operations per second."""
    bandwidth: float
    """Bytes of activations per second."""


class Rates(Document):
    """The speeds and the memory of a machine, for estimates."""

    one_thread: Speed
    all_threads: Speed
    """Equal to the speed above if there is one thread, or on a GPU."""
    base_memory: int
    """Bytes of Python, torch and its libraries before any work."""
    memory: int
    """Bytes of the whole machine, or of the GPU; 0 if not known."""
    measured: bool
    """Whether the rates were measured here; otherwise they are round figures."""


ROUND_RATES: dict[Device, Rates] = {
    "cpu": Rates(
        one_thread=Speed(layer=1e-4, flops=1.2e11, bandwidth=4e9),
        all_threads=Speed(layer=1e-4, flops=2.5e11, bandwidth=7e9),
        base_memory=450 * 2**20,
        memory=0,
        measured=False,
    ),
    "cuda": Rates(
        one_thread=Speed(layer=5e-5, flops=2e13, bandwidth=1e12),
        all_threads=Speed(layer=5e-5, flops=2e13, bandwidth=1e12),
        base_memory=1500 * 2**20,
        memory=0,
        measured=False,
    ),
}


@dataclass(frozen=True)
class Machine:
    """A kind of device, its cores, and its speed if it was measured."""

    device: Device
    cores: int
    rates: Rates | None = None
    forks: bool = True
    """Whether the system can fork a process, so that copies share memory."""

    @property
    def known_rates(self) -> Rates:
        """Return measured rates, or round figures for the kind of device."""
        return self.rates or ROUND_RATES[self.device]
