"""Steps of fixed shapes, recorded once as CUDA graphs and replayed.

Small steps are bound by the hundreds of kernels that a host launches one by one; a replay launches
all of them with one call. What is recorded are the same kernels in the same order.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

TensorFunction = Callable[..., tuple[Tensor, ...]]
"""Of tensors alone, and without a memory of its own."""


class Recording(Protocol):
    """A function that was recorded for arguments of certain shapes."""

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the function gives; the next call writes over it."""


class CudaGraph:
    """A function recorded on the GPU that its arguments are on."""

    WARM_UP = 3
    """Calls before the recording: libraries make their handles and choose their kernels."""

    def __init__(self, function: TensorFunction, values: Sequence[Tensor]) -> None:
        self.held = [value.detach().clone() for value in values]
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            for _ in range(self.WARM_UP):
                function(*self.held)
        here.wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile; they are no part of the recording.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.found = function(*self.held)

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Copy the arguments to where the recording reads them, and replay it."""
        for held, value in zip(self.held, values, strict=True):
            held.copy_(value)
        self.graph.replay()
        return self.found


class RecordedFunction:
    """A function that is recorded for each shape of its arguments when it is first met."""

    def __init__(
        self,
        function: TensorFunction,
        record: Callable[[TensorFunction, Sequence[Tensor]], Recording],
    ) -> None:
        self.function, self.record = function, record
        self.recordings: dict[tuple[object, ...], Recording] = {}

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """What the function gives, in tensors that stay as they are."""
        shapes = tuple((value.shape, value.dtype) for value in values)
        if shapes not in self.recordings:
            self.recordings[shapes] = self.record(self.function, values)
        return tuple(found.clone() for found in self.recordings[shapes](values))


def as_cuda_graph(function: TensorFunction, recorded: bool) -> TensorFunction:
    """The function itself, or as a recording of the GPU gives it."""
    return RecordedFunction(function, CudaGraph) if recorded else function
