"""The path of a student: its parameters before the first step and after each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class StudentState:
    """The parameters of a student and its momentum buffer."""

    theta: Float[Tensor, " p"]
    velocity: Float[Tensor, " p"] | None = None


StudentStep = Callable[[int, StudentState], StudentState]
"""Maps the number of a step and the state before it to the state after it."""


class StudentPath(Sequence[Tensor]):
    """N + 1 parameter vectors (p,), of which all or every k-th stay in memory.

    With `keep_every` above one, the vectors in between are recomputed from the last kept one when
    they are asked for, a segment at a time, to the same bits. A recomputed vector is valid until
    another segment is asked for; slices are copies.

    Memory for all vectors is allocated in advance: allocated one by one, between the activations
    of the steps, they would fragment the memory that the activations use.
    """

    def __init__(self, start: Tensor, take_step: StudentStep, steps: int, keep_every: int) -> None:
        self.take_step, self.keep_every = take_step, keep_every
        self.length = 1
        self.kept_rows = allocate_rows(start, steps // keep_every + 1)
        # The first vector of a segment is a kept row, so a segment needs one row less.
        self.segment_rows = allocate_rows(start, keep_every - 1)
        self.kept = {0: StudentState(self.kept_rows[0].copy_(start))}
        self.latest = self.kept[0]
        self.segment: dict[int, StudentState] = {}

    def extend(self) -> None:
        """Take one more step."""
        self.latest = self.take_step(self.length - 1, self.latest)
        if self.length % self.keep_every == 0:
            row = self.kept_rows[self.length // self.keep_every].copy_(self.latest.theta)
            self.latest = StudentState(row, self.latest.velocity)
            # Recomputing a segment needs the velocity at its start; without segments none is kept.
            self.kept[self.length] = self.latest if self.keep_every > 1 else StudentState(row)
        self.length += 1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number].clone() for number in range(*index.indices(self.length))]
        number = range(self.length)[index]
        if number == self.length - 1:
            return self.latest.theta
        if number not in self.kept and number not in self.segment:
            self.recompute(number // self.keep_every * self.keep_every)
        return (self.kept.get(number) or self.segment[number]).theta

    def recompute(self, first: int) -> None:
        """Take the steps of the segment that starts at the kept step `first` again."""
        state, self.segment = self.kept[first], {}
        for step in range(first, min(first + self.keep_every, self.length) - 1):
            state = self.take_step(step, state)
            row = self.segment_rows[step - first].copy_(state.theta)
            state = self.segment[step + 1] = StudentState(row, state.velocity)


def allocate_rows(vector: Tensor, count: int) -> list[Tensor]:
    """Return `count` vectors like `vector`, side by side in one block of memory.

    Each is a tensor that is not a view: autograd takes a write to one view for a write to all.
    """
    block = vector.new_empty(count * len(vector)).untyped_storage()
    return [
        vector.new_empty(0).set_(block, row * len(vector), (len(vector),), (1,))
        for row in range(count)
    ]
