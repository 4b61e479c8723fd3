"""How far the student ended from where the expert went, and where on its way that is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import IntermediatePoints, IntermediateWeights, MatchedStep


@dataclass(frozen=True)
class MatchTarget:
    """One term of the matching loss: after `step` student steps, be at `target`."""

    step: int
    target: Float[Tensor, " p"]
    weight: float = 1.0


def normalized_l2(
    student: Float[Tensor, " p"], target: Float[Tensor, " p"], start: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """Squared distance to the target, in units of the distance the expert travelled.

        || student - target ||^2  /  || start - target ||^2

    The loss of MTT (arXiv:2203.11932): `start` is theta*_t, `target` theta*_{t+M}, `student` the
    parameters after N steps. One means that the student might as well have stood still, zero
    that N steps on the synthetic set replaced M epochs on the real one.
    """
    return (student - target).square().sum() / (start - target).square().sum()


def matching_losses(
    path: Sequence[Float[Tensor, " p"]], goals: Sequence[MatchTarget], start: Float[Tensor, " p"]
) -> tuple[Float[Tensor, " goals"], dict[int, Float[Tensor, " p"]]]:
    """Weight times `normalized_l2` of each goal, and their sum's gradient by each step's student.

    Goals at the same step add up.
    """
    losses = []
    cotangents: dict[int, Tensor] = {}
    for goal in goals:
        student = path[goal.step].detach().requires_grad_()
        loss = goal.weight * normalized_l2(student, goal.target, start)
        (gradient,) = torch.autograd.grad(loss, student)
        losses.append(loss.detach())
        before = cotangents.get(goal.step)
        cotangents[goal.step] = gradient if before is None else before + gradient
    return torch.stack(losses), cotangents


def matched_step(
    rule: MatchedStep, path: Sequence[Float[Tensor, " p"]], target: Float[Tensor, " p"]
) -> int:
    """The student step at which the target is matched.

    `nearest`: of the steps 1 to N the one with the least L1 distance to the target, the earliest
    of equals (ATT, arXiv:2407.14245).
    """
    match rule:
        case "last":
            return len(path) - 1
        case "nearest":
            distances = torch.stack([(student - target).abs().sum() for student in path[1:]])
            return int(distances.argmin()) + 1
        case _:
            assert_never(rule)


def intermediate_step(rule: IntermediatePoints, index: int, epochs: int, steps: int) -> int:
    """After how many of `steps` student steps epoch `index` of `epochs` is met (AST, Alg. 2)."""
    match rule:
        case "floor":
            return index * steps // epochs
        case "multiples":
            return index * (steps // epochs)
        case _:
            assert_never(rule)


def intermediate_weight(rule: IntermediateWeights, index: int, epochs: int) -> float:
    """beta_i of AST: 1, or growing to the 1 of the final match."""
    match rule:
        case "equal":
            return 1.0
        case "growing":
            return index / epochs
        case _:
            assert_never(rule)
