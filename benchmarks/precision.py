"""Errors of gradients by precision, against float64: `python -m benchmarks.precision`.

tf32 rounds operands to 10 bits of mantissa, multiplies them, and adds in float32. It is emulated
here, so that no GPU is needed: every operand of a convolution or a matrix product is rounded, in
forward passes and in first and second derivatives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
import typer
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import ddspec_engine
from benchmarks.shapes import CIFAR10_SHAPE, DIGITS_SHAPE, STUDENT_LR, Shape
from ddspec.dsl.terms import Precision
from ddspec.engine.matching.losses import MatchTarget, matching_losses
from ddspec.engine.matching.student_optimisers import HeavyBall, StudentState
from ddspec.engine.matching.unroll import InnerLoss, Student, StudentDescent, adjoint, unroll
from ddspec.engine.networks.flat_network import FlatNetwork, flat_network, initial_parameters

PRODUCTS = {
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
}
DROPPED_BITS = 13
"""tf32 keeps 10 of float32's 23 bits of mantissa."""


class TensorFloat(TorchDispatchMode):
    """A mode in which products have the precision that a GPU gives them in tf32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Round the operands of products."""
        if func in PRODUCTS:
            args = [rounded(value) if is_float(value) else value for value in args]
        return func(*args, **(kwargs or {}))


def is_float(value: object) -> bool:
    """Return whether a value is a tensor of float32."""
    return isinstance(value, Tensor) and value.dtype == torch.float32


def rounded(values: Tensor) -> Tensor:
    """Return values rounded to the nearest numbers of tf32."""
    half = 1 << (DROPPED_BITS - 1)
    bits = (values.contiguous().view(torch.int32) + half) & -(1 << DROPPED_BITS)
    return bits.view(torch.float32)


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Multiply float32 tensors in that precision inside the block."""
    if precision == "tf32":
        with TensorFloat():
            yield
    else:
        yield


@dataclass(frozen=True)
class Errors:
    """Relative errors of gradients against float64."""

    inner: float
    """Error of a student step's gradient by its parameters."""
    outer: float
    """Error of the outer gradient by the images, through all student steps."""


def gradients(
    shape: Shape, net: FlatNetwork, ipc: int, steps: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return a student step's gradient, and the matching loss's gradient by the images."""
    start = initial_parameters(
        ddspec_engine.convnet_of(shape), ddspec_engine.facts_of(shape), 0, "precision"
    )
    start, images = start.to(dtype), shape.images(ipc * shape.classes).to(dtype)
    labels, rate = shape.labels(len(images)), torch.tensor(STUDENT_LR, dtype=dtype)
    wave = torch.sin(torch.arange(len(start), dtype=dtype))

    student = Student(lambda theta, own, taught: F.cross_entropy(net(theta, own), taught))
    loss = InnerLoss(student, lambda step, learned: (learned[0], labels))
    inner, _ = student.gradient(start, images, labels)
    unrolled = unroll(loss, StudentState(start), [images], StudentDescent(HeavyBall(rate), steps))
    _, cotangents = matching_losses(unrolled.path, [MatchTarget(steps, start + 0.01 * wave)], start)
    (by_images,), _ = adjoint(loss, unrolled, [images], cotangents)
    return inner.double(), by_images.double()


def errors(shape: Shape, precision: Precision, ipc: int, steps: int) -> Errors:
    """Return the errors of a precision at a shape."""
    plain = flat_network(ddspec_engine.convnet_of(shape), ddspec_engine.facts_of(shape))
    truth = gradients(shape, plain, ipc, steps, torch.float64)
    net = replace(plain, precision=precision)
    with products(precision):
        gradients_of = gradients(shape, net, ipc, steps, torch.float32)
    inner, outer = (
        float((mine - true).norm() / true.norm())
        for mine, true in zip(gradients_of, truth, strict=True)
    )
    return Errors(inner, outer)


def print_errors(ipc: int = 1, steps: int = 10) -> None:
    """Print a table of the errors of every precision."""
    print(f"relative errors against float64, {ipc} image(s) per class, N = {steps}\n")
    print("| shape | precision | gradient of a student step | outer gradient by the images |")
    print("|---|---|---|---|")
    for shape in (DIGITS_SHAPE, CIFAR10_SHAPE):
        for precision in get_args(Precision):
            results = errors(shape, precision, ipc, steps)
            print(f"| {shape.name} | {precision} | {results.inner:.1e} | {results.outer:.1e} |")


if __name__ == "__main__":
    typer.run(print_errors)
