"""Measurement of work on an artifact: time, processor time and memory of this process."""

import time

import torch

from ddspec.dsl.plan.route import Route
from ddspec.engine.machine.environment import environment
from ddspec.engine.machine.memory import peak_bytes
from ddspec.engine.store.provenance import Work


class Stopwatch:
    """A measurement that begins when the stopwatch is made."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.began, self.processor_began = time.monotonic(), time.process_time()

    def work(self) -> Work:
        """Return the work since the beginning."""
        return Work(
            route=self.route,
            environment=environment(self.route.device),
            seconds=time.monotonic() - self.began,
            processor_seconds=time.process_time() - self.processor_began,
            memory_bytes=peak_bytes(torch.device(self.route.device)),
        )
