"""Matching losses: the distance of a student from its targets, and the matched steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddspec.dsl.keys.extension import ExtensionLoss
from ddspec.dsl.spec.objectives.trajectory import MatchedParameters, NormalizedL2
from ddspec.dsl.terms import IntermediatePoints, IntermediateWeights, MatchedStep
from ddspec.engine.numerics.extension_code import number_and_gradient

MatchingLoss = NormalizedL2 | ExtensionLoss
NORMALIZED_L2 = NormalizedL2(name="normalized_l2")


@dataclass(frozen=True)
class MatchTarget:
    """One term of the matching loss: after `step` student steps, be at `target`."""

    step: int
    target: Float[Tensor, " p"]
    weight: float = 1.0


def normalized_l2(
    student: Float[Tensor, " p"], target: Float[Tensor, " p"], start: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """Return the squared distance to the target, relative to the expert's own distance.

        || student - target ||^2  /  || start - target ||^2

    The loss of MTT (arXiv:2203.11932): `start` is theta*_t, `target` theta*_{t+M}, `student` the
    theta^_{t+N}, the parameters after N steps. One means that the student might as well have stood
    still; zero means that N steps on the synthetic set replaced M epochs on the real one. The
    denominator makes early windows, where experts move far, weigh like late ones.
    """
    return (student - target).square().sum() / (start - target).square().sum()


def kept_entries(
    rule: MatchedParameters, student: Float[Tensor, " p"], target: Float[Tensor, " p"]
) -> slice | Int[Tensor, " kept"]:
    """Return the entries of the flat vector that are matched, as an ascending index.

    PAD (arXiv:2408.03360) leaves out the first `drop` of them, in the order of the layers; its
    code also has those with the least squared error. At least one entry is left.
    """
    dropped = int(rule.drop * len(student))
    match rule.by:
        case "depth":
            return slice(dropped, None)
        case "error":
            # Stable: of equal errors the first entry is left out, on every device.
            order = (student - target).square().sort(stable=True).indices
            # Ascending, so that with nothing left out the sums have the order of the whole.
            return order[dropped:].sort().values
        case _:
            assert_never(rule.by)


def loss_and_gradient(
    form: MatchingLoss,
    match: MatchTarget,
    student: Float[Tensor, " p"],
    start: Float[Tensor, " p"],
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """Return the weighted loss of one target, and its gradient by the student's parameters."""
    student = student.requires_grad_()
    match form:
        case NormalizedL2():
            loss = match.weight * normalized_l2(student, match.target, start)
            (gradient,) = torch.autograd.grad(loss, student)
            return loss.detach(), gradient
        case ExtensionLoss():
            arguments = {"student": student, "target": match.target, "start": start}
            number, gradient = number_and_gradient("losses", form, by=student, **arguments)
            return match.weight * number, match.weight * gradient
        case _:
            assert_never(form)


def partial_loss_and_gradient(
    form: MatchingLoss,
    rule: MatchedParameters,
    match: MatchTarget,
    student: Float[Tensor, " p"],
    start: Float[Tensor, " p"],
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """Return the weighted loss over the entries that are matched, and its gradient by all.

    The choice of entries is constant around a student, except where two errors are equal, and so
    it is a constant in the derivative. The gradient of an entry that is left out is zero.
    """
    kept = kept_entries(rule, student, match.target)
    part = replace(match, target=match.target[kept])
    loss, slope = loss_and_gradient(form, part, student[kept], start[kept])
    gradient = torch.zeros_like(student)
    gradient[kept] = slope
    return loss, gradient


def matching_losses(
    path: Sequence[Float[Tensor, " p"]],
    targets: Sequence[MatchTarget],
    start: Float[Tensor, " p"],
    form: MatchingLoss = NORMALIZED_L2,
    parameters: MatchedParameters | None = None,
) -> tuple[Float[Tensor, " targets"], dict[int, Float[Tensor, " p"]]]:
    """Return the weighted loss of each target, and the gradient of their sum by step.

    The gradient is by the student's parameters at each matched step; targets at the same step
    add up. These gradients are the cotangents from which `adjoint` starts. If only a part of the
    parameters is matched, every target has its own part.
    """
    losses = []
    cotangents: dict[int, Tensor] = {}
    for match in targets:
        # Detached: how the student depends on what is learned is left to `adjoint`.
        student = path[match.step].detach()
        if parameters is None:
            loss, gradient = loss_and_gradient(form, match, student, start)
        else:
            loss, gradient = partial_loss_and_gradient(form, parameters, match, student, start)
        losses.append(loss)
        before = cotangents.get(match.step)
        # Two targets share a step if there are fewer steps than epochs.
        cotangents[match.step] = gradient if before is None else before + gradient
    return torch.stack(losses), cotangents


def expert_distances(
    path: Sequence[Float[Tensor, " p"]],
    targets: Sequence[MatchTarget],
    start: Float[Tensor, " p"],
    parameters: MatchedParameters | None = None,
) -> Float[Tensor, " targets"]:
    """Return the squared distance from start to each target, in the parameters that are matched."""
    distances = []
    for match in targets:
        difference = start - match.target
        if parameters is not None:
            difference = difference[kept_entries(parameters, path[match.step], match.target)]
        distances.append(difference.square().sum())
    return torch.stack(distances)


def matched_step(
    rule: MatchedStep, path: Sequence[Float[Tensor, " p"]], target: Float[Tensor, " p"]
) -> int:
    """Return the student step at which the target is matched.

    `nearest` is the step from 1 to N with the least L1 distance to the target, the
    earliest if several are equally near (ATT, arXiv:2407.14245).
    """
    match rule:
        case "last":
            return len(path) - 1
        case "nearest":
            # Step 0 does not depend on the synthetic set, so it cannot be matched.
            distances = torch.stack([(student - target).abs().sum() for student in path[1:]])
            return int(distances.argmin()) + 1
        case _:
            assert_never(rule)


def intermediate_step(rule: IntermediatePoints, index: int, epochs: int, steps: int) -> int:
    """Return the student step that matches epoch `index` of `epochs` (AST, Alg. 2)."""
    match rule:
        case "floor":
            # Algorithm 2 of AST; its public code has the other rule.
            return index * steps // epochs
        case "multiples":
            return index * (steps // epochs)
        case _:
            assert_never(rule)


def intermediate_weight(rule: IntermediateWeights, index: int, epochs: int) -> float:
    """Return beta_i of AST: always 1, or growing up to the 1 of the final match."""
    match rule:
        case "equal":
            return 1.0
        case "growing":
            return index / epochs
        case _:
            assert_never(rule)
