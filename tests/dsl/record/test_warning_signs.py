"""Warning signs: each is given for the run that it describes, and for no sound one."""

from types import SimpleNamespace
from typing import Any

import pytest

from ddspec.dsl.record.record import Accuracy, Results
from ddspec.dsl.record.series import Series
from ddspec.dsl.record.synthetic_set import SetExtremes
from ddspec.dsl.record.warning_signs import warning_signs
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching

SOUND = SetExtremes(lowest_pixel=-2.5, highest_pixel=3.0)


def accuracy(mean: float) -> Accuracy:
    return Accuracy(
        mean=mean, std=0.0, n=1, values=(mean,), network="convnet", choose="last", iteration=20
    )


def results(mean: float | None, random_real: float | None = 40.0) -> Results:
    return Results(
        accuracy=None if mean is None else accuracy(mean),
        last=None,
        best_on_test=None,
        per_network={},
        random_real={} if random_real is None else {"convnet": accuracy(random_real)},
        random_real_expert_labels={},
        expert=None,
        reached=(),
    )


def series(losses: list[float], norms: list[float], guarded: list[int] | None = None) -> Series:
    count = len(losses)
    return Series(
        matching_loss=tuple(losses),
        intermediate_loss=(),
        student_lr=(0.01,) * count,
        gradient_norm=tuple(norms),
        start_epoch=(),
        expert=(),
        inner_loss=(),
        inner_weight=(),
        matched_step=(),
        guarded=tuple(guarded or [0] * count),
        rate_held=(0,) * count,
    )


def plan_of(preview: tuple[str, ...] = ()) -> Any:
    facts = SimpleNamespace(classes=10, test_count=1000, test_per_class=(100,) * 10)
    matching = TrajectoryMatching(syn_steps=1, expert_epochs=1, max_start_epoch=1)
    return SimpleNamespace(
        preview=preview,
        dataset=SimpleNamespace(facts=facts),
        distill=SimpleNamespace(matching=matching),
    )


LEARNING = series([0.9] * 20, [1.0] * 20)


def kinds(*arguments: Any, preview: tuple[str, ...] = ()) -> list[str]:
    return [sign.kind for sign in warning_signs(plan_of(preview), *arguments)]


def test_sound_run_has_no_sign():
    assert kinds(results(60.0), LEARNING, SOUND) == []
    assert kinds(results(None, None), series([], []), None) == []


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(10.0, True), (11.8, True), (12.0, False)],  # Two standard errors of 1,000 images are 1.9.
)
def test_accuracy_within_two_standard_errors_of_guessing_is_at_chance(mean, expected):
    assert ("at_chance" in kinds(results(mean, None), LEARNING, SOUND)) == expected


def test_accuracy_below_random_real_images_is_a_sign():
    assert kinds(results(39.9), LEARNING, SOUND) == ["below_random_real"]


@pytest.mark.parametrize("extremes", [(-1.5e10, 3.0), (-2.0, 31.0)])
def test_pixels_far_from_all_real_ones_are_a_sign(extremes):
    exploded = SetExtremes(lowest_pixel=extremes[0], highest_pixel=extremes[1])
    assert kinds(results(60.0), LEARNING, exploded) == ["exploded_pixels"]


def test_learned_labels_that_became_hard_are_a_sign():
    hard = SOUND.model_copy(update={"least_certain_label": 1.0})
    soft = SOUND.model_copy(update={"least_certain_label": 0.4})
    assert kinds(results(60.0), LEARNING, hard) == ["saturated_labels"]
    assert kinds(results(60.0), LEARNING, soft) == []


def test_loss_of_a_student_that_stands_still_is_a_sign():
    ends = series([0.5] * 18 + [1.2, 0.9], [1.0] * 20)
    assert kinds(results(60.0), ends, SOUND) == ["loss_of_standing_still"]
    spike = series([0.5] * 17 + [9.0, 0.6, 0.6], [1.0] * 20)
    assert kinds(results(60.0), spike, SOUND) == []


def test_gradient_that_vanished_is_a_sign_but_skipped_updates_are_none():
    vanished = series([0.9] * 20, [1.0] * 18 + [1e-9, 1e-9])
    assert kinds(results(60.0), vanished, SOUND) == ["vanished_gradient"]
    skipped = series([0.9] * 20, [1.0] * 18 + [0.0, 0.0], [0] * 18 + [2, 2])
    assert kinds(results(60.0), skipped, SOUND) == []


def test_preview_is_not_judged_by_accuracy_and_loss():
    exploded = SetExtremes(lowest_pixel=-1e9, highest_pixel=1e9)
    ends = series([1.5] * 20, [1.0] * 20)
    assert kinds(results(10.0), ends, exploded, preview=("shrunk",)) == ["exploded_pixels"]
