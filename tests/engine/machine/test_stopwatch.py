"""A stopwatch measures the work since it was made."""

import time

from ddspec.dsl.plan.route import Route
from ddspec.engine.machine.environment import environment
from ddspec.engine.machine.stopwatch import Stopwatch


def test_work_has_route_machine_time_and_memory(monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    processor = iter([7.0, 52.0])
    monkeypatch.setattr(time, "process_time", lambda: next(processor))
    route = Route(device="cpu", threads=2)
    work = Stopwatch(route).work()
    assert (work.route, work.environment) == (route, environment("cpu"))
    assert (work.seconds, work.processor_seconds) == (30.0, 45.0)
    assert work.memory_bytes > 10_000_000
