"""The path of a student: its parameters before the first step and after each."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ddspec.engine.matching.student_optimisers import StudentState

StudentStep = Callable[[int, StudentState], StudentState]
"""Maps the number of a step and the state before it to the state after it."""


class StudentPath(Sequence[Tensor]):
    """N + 1 parameter vectors (p,), of which all or every k-th stay in memory.

    With `keep_every` above one, the vectors in between are recomputed from the last kept one when
    they are asked for, a segment at a time, to the same bits. A recomputed vector is valid until
    another segment is asked for; slices are copies. What the optimiser remembers is kept with
    them if `with_memory`, for `state`; and where a segment starts, to recompute it.

    Memory for all vectors of a kind is allocated at once, that of the optimiser's memory when the
    first step has some: allocated one by one, between the activations of the steps, they would
    fragment the memory that the activations use.
    """

    def __init__(
        self,
        start: StudentState,
        take_step: StudentStep,
        steps: int,
        keep_every: int,
        with_memory: bool = False,
    ) -> None:
        self.take_step, self.keep_every, self.with_memory = take_step, keep_every, with_memory
        self.length = 1
        self.kept_rows = StateRows(start.theta, steps // keep_every + 1)
        # The first vector of a segment is a kept row, so a segment needs one row less.
        self.segment_rows = StateRows(start.theta, keep_every - 1)
        self.kept = {0: self.kept_rows.write(0, start, with_memory or keep_every > 1)}
        # The first step needs the memory whether or not it is kept.
        self.latest = StudentState(self.kept[0].theta, start.memory)
        self.segment: dict[int, StudentState] = {}

    def extend(self) -> None:
        """Take one more step."""
        self.latest = self.take_step(self.length - 1, self.latest)
        if self.length % self.keep_every == 0:
            row, keeps = self.length // self.keep_every, self.with_memory or self.keep_every > 1
            kept = self.kept[self.length] = self.kept_rows.write(row, self.latest, keeps)
            # The next step needs the memory whether or not it is kept.
            self.latest = StudentState(kept.theta, kept.memory or self.latest.memory)
        self.length += 1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number].clone() for number in range(*index.indices(self.length))]
        return self.state(range(self.length)[index]).theta

    def state(self, number: int) -> StudentState:
        """Return the state after so many steps; its memory is empty unless it is kept."""
        if number == self.length - 1:
            return self.latest
        if number not in self.kept and number not in self.segment:
            self.recompute(number // self.keep_every * self.keep_every)
        return self.kept.get(number) or self.segment[number]

    def recompute(self, first: int) -> None:
        """Take the steps of the segment that starts at the kept step `first` again."""
        state, self.segment = self.kept[first], {}
        for step in range(first, min(first + self.keep_every, self.length) - 1):
            state = self.take_step(step, state)
            row = self.segment_rows.write(step - first, state, self.with_memory)
            self.segment[step + 1] = row
            state = StudentState(row.theta, row.memory or state.memory)


class StateRows:
    """Memory for the vectors of so many states, side by side, allocated when it is first needed."""

    def __init__(self, like: Tensor, count: int) -> None:
        self.like, self.count = like, count
        self.rows = [allocate_rows(like, count)]

    def write(self, row: int, state: StudentState, with_memory: bool) -> StudentState:
        """Copy a state into a row and return that copy, without its memory unless asked for it."""
        vectors = (state.theta, *(state.memory if with_memory else ()))
        while len(self.rows) < len(vectors):
            self.rows.append(allocate_rows(self.like, self.count))
        theta, *memory = (
            rows[row].copy_(vector) for rows, vector in zip(self.rows, vectors, strict=False)
        )
        return StudentState(theta, tuple(memory))


def allocate_rows(vector: Tensor, count: int) -> list[Tensor]:
    """Return `count` vectors like `vector`, side by side in one block of memory.

    Each is a tensor that is not a view: autograd takes a write to one view for a write to all.
    """
    block = vector.new_empty(count * len(vector)).untyped_storage()
    return [
        vector.new_empty(0).set_(block, row * len(vector), (len(vector),), (1,))
        for row in range(count)
    ]
