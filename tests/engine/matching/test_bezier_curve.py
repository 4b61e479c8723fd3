"""Laws of quadratic Bezier curves, in float64."""

import pytest
import torch

from ddspec.engine.matching.bezier_curve import BezierCurve, share_of_control, straight_control

START = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
END = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)
CONTROL = torch.tensor([5.0, -1.0, 3.0], dtype=torch.float64)


def test_curve_begins_and_ends_at_its_ends_exactly():
    curve = BezierCurve(START, CONTROL, END)
    assert torch.equal(curve.at(0.0), START)
    assert torch.equal(curve.at(1.0), END)


def test_middle_of_the_curve_is_half_the_control_point_and_a_quarter_of_each_end():
    middle = BezierCurve(START, CONTROL, END).at(0.5)
    torch.testing.assert_close(middle, START / 4 + CONTROL / 2 + END / 4)


@pytest.mark.parametrize("position", [0.1, 0.35, 0.8])
def test_every_point_lies_where_two_lines_of_de_casteljau_meet(position):
    first = torch.lerp(START, CONTROL, position)
    second = torch.lerp(CONTROL, END, position)
    point = BezierCurve(START, CONTROL, END).at(position)
    torch.testing.assert_close(point, torch.lerp(first, second, position), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.35, 0.8, 1.0])
def test_with_the_control_point_in_the_middle_the_curve_is_the_straight_line(position):
    curve = BezierCurve(START, straight_control(START, END), END)
    line = torch.lerp(START, END, position)
    torch.testing.assert_close(curve.at(position), line, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_share_of_the_control_point_is_the_derivative_of_the_curve(position):
    control = CONTROL.clone().requires_grad_()
    (by_control,) = torch.autograd.grad(
        BezierCurve(START, control, END).at(position).sum(), control
    )
    assert torch.equal(by_control, torch.full_like(CONTROL, share_of_control(position)))
