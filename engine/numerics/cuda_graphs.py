"""CUDA graphs: steps of fixed shapes, recorded once and replayed.

A small step is bound by the hundreds of kernels that the host launches one by one; a replay
launches all of them with one call. The recording holds the same kernels in the same order.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

TensorFunction = Callable[..., tuple[Tensor, ...]]
"""A function of tensors alone, which keeps no state between calls."""


class Recording(Protocol):
    """A function that was recorded for arguments of certain shapes."""

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the function's results; the next call overwrites them."""


class CudaGraph:
    """A function recorded on the GPU that holds its arguments."""

    WARM_UP = 3
    """Calls before the recording, in which libraries create handles and choose kernels."""

    def __init__(self, function: TensorFunction, values: Sequence[Tensor]) -> None:
        # Contiguous, so that the kernels do not depend on the strides of the first arguments.
        self.inputs = [torch.empty(v.shape, dtype=v.dtype, device=v.device) for v in values]
        self.copy_inputs(values)
        current, side = torch.cuda.current_stream(), side_stream()
        self.graph = torch.cuda.CUDAGraph()
        with collector_paused():
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(self.WARM_UP):
                    function(*self.inputs)
            current.wait_stream(side)
            try:
                # "thread_local": other threads may use the GPU meanwhile without entering the
                # recording.
                with torch.cuda.graph(
                    self.graph,
                    pool=shared_pool(),
                    stream=side,
                    capture_error_mode="thread_local",
                ):
                    self.outputs = function(*self.inputs)
            except RuntimeError as error:
                # Leaving a failed recording raises again, and hides what made it fail.
                raise error.__context__ or error from None

    def copy_inputs(self, values: Sequence[Tensor]) -> None:
        """Copy arguments to the addresses that the recording reads."""
        for recorded, value in zip(self.inputs, values, strict=True):
            recorded.copy_(value.detach())

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Copy the arguments to the recorded addresses and replay the graph."""
        self.copy_inputs(values)
        self.graph.replay()
        return self.outputs


@cache
def side_stream() -> torch.cuda.Stream:
    """Return the stream on which all recordings are made.

    Libraries keep memory for every stream that they were used on, so there is only one.
    """
    return torch.cuda.Stream()


shared_pool = cache(torch.cuda.graph_pool_handle)
"""Returns the memory pool of all recordings, which is as large as the largest of them needs.

They can share it because replays follow each other on one stream and their results are copied at
once.
"""


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect garbage now and not within the block.

    Collecting an older CUDA graph during a recording would end the recording with an error.
    """
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class RecordedFunction:
    """A function that is recorded once for each combination of argument shapes."""

    def __init__(
        self,
        function: TensorFunction,
        record: Callable[[TensorFunction, Sequence[Tensor]], Recording],
    ) -> None:
        self.function, self.record = function, record
        self.recordings: dict[tuple[object, ...], Recording] = {}

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the function's results in tensors that later calls leave alone."""
        shapes = tuple((value.shape, value.dtype) for value in values)
        if shapes not in self.recordings:
            self.recordings[shapes] = self.record(self.function, values)
        # A replay writes into the same memory each time, so the caller gets copies.
        return tuple(result.clone() for result in self.recordings[shapes](values))


def as_cuda_graph(function: TensorFunction, recorded: bool) -> TensorFunction:
    """Return the function itself or, if `recorded`, its CUDA graphs by shape."""
    return RecordedFunction(function, CudaGraph) if recorded else function
