"""What the steps of a run cost: the time during which they ran, and their peak memory."""

import time
from dataclasses import dataclass, field

from ddspec.engine.control import Cost


@dataclass
class StepClocks:
    """Wall time of each step, counted while at least one of its tasks runs."""

    costs: dict[str, Cost] = field(default_factory=dict)
    """By step, of those that computed something."""
    running: dict[str, int] = field(default_factory=dict)
    """Tasks that run, by step."""
    since: dict[str, float] = field(default_factory=dict)
    """When the first of them began."""

    def begin(self, step: str) -> None:
        """Note that a task of a step begins."""
        if not self.running.get(step):
            self.since[step] = time.monotonic()
        self.running[step] = self.running.get(step, 0) + 1

    def end(self, step: str, memory_bytes: int, computed: bool) -> None:
        """Note that a task of a step has ended; one that computed nothing costs nothing."""
        self.running[step] -= 1
        now, since = time.monotonic(), self.since[step]
        self.since[step] = now
        before = self.costs.get(step)
        if computed or before is not None:
            before = before or Cost(0.0, 0)
            most = max(before.memory_bytes, memory_bytes)
            self.costs[step] = Cost(before.seconds + now - since, most)
