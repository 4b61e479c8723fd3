"""What the steps of a run cost: the time during which they ran, and their peak memory."""

import time
from dataclasses import dataclass, field

from ddspec.engine.control import Cost


@dataclass
class Clock:
    """Wall time that is counted while at least one task runs."""

    running: int = 0
    since: float = 0.0
    seconds: float = 0.0

    def begin(self) -> None:
        """Note that a task begins."""
        self.count()
        self.running += 1

    def end(self) -> None:
        """Note that a task has ended."""
        self.count()
        self.running -= 1

    def count(self) -> None:
        """Count the time since the last change, if a task ran in it."""
        now = time.monotonic()
        if self.running:
            self.seconds += now - self.since
        self.since = now


@dataclass
class StepClocks:
    """Clocks of all steps, and one for the whole run, in which steps may run at once."""

    costs: dict[str, Cost] = field(default_factory=dict)
    """By step, of those that computed something."""
    clocks: dict[str, Clock] = field(default_factory=dict)
    whole: Clock = field(default_factory=Clock)

    @property
    def seconds(self) -> float:
        """Return the wall time in which any step ran."""
        return self.whole.seconds

    def begin(self, step: str) -> None:
        """Note that a task of a step begins."""
        self.clocks.setdefault(step, Clock()).begin()
        self.whole.begin()

    def stop(self) -> None:
        """Count the time of what still runs, when the run ends with it."""
        for step, clock in self.clocks.items():
            while clock.running:
                self.end(step, 0, computed=True)

    def end(self, step: str, memory_bytes: int, computed: bool) -> None:
        """Note that a task of a step has ended; one that computed nothing costs nothing."""
        self.clocks[step].end()
        self.whole.end()
        if computed or step in self.costs:
            before = self.costs.get(step, Cost(0.0, 0))
            most = max(before.memory_bytes, memory_bytes)
            self.costs[step] = Cost(self.clocks[step].seconds, most)
