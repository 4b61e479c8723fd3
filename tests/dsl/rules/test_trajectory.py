"""Rules on windows and trajectories, on both sides of their borders."""

import pytest

from ddspec.dsl.rules import trajectory

CONVEX = {"type": "convex"}
BEZIER = {"type": "bezier"}


def test_start_range_has_at_least_one_epoch(broken):
    rule = trajectory.start_range_not_empty
    assert not broken(rule, matching={"min_start_epoch": 19, "max_start_epoch": 20})
    (error,) = broken(rule, matching={"min_start_epoch": 20, "max_start_epoch": 20})
    assert (error.code, error.key) == ("empty-start-range", "matching.min_start_epoch")
    assert error.hint == "use at most 19, or set matching.max_start_epoch = 21"


@pytest.mark.parametrize(
    ("starts", "length", "fits"), [(49, 2, True), (50, 2, False), (1, 50, True)]
)
def test_latest_window_ends_at_the_last_epoch_or_before(starts, length, fits, broken):
    matching = {"max_start_epoch": starts, "expert_epochs": float(length)}
    errors = broken(
        trajectory.windows_end_within_training, experts={"epochs": 50}, matching=matching
    )
    assert [e.code for e in errors] == ([] if fits else ["expert-window-too-long"])


def test_hint_on_a_long_window_names_the_numbers_that_fit(broken):
    rule, matching = trajectory.windows_end_within_training, {"max_start_epoch": 50}
    (error,) = broken(rule, experts={"epochs": 50}, matching=matching)
    assert error.hint == "use at most 48, or set experts.epochs = 52"
    assert not broken(rule, experts={"epochs": 52}, matching=matching)
    assert not broken(rule, experts={"epochs": 50}, matching={"max_start_epoch": 48})


def test_window_longer_than_the_training_fits_with_no_start(broken):
    (error,) = broken(
        trajectory.windows_end_within_training,
        experts={"epochs": 5},
        matching={"max_start_epoch": 1, "expert_epochs": 6.0},
    )
    assert error.hint == "set experts.epochs = 6"


def test_without_iterations_no_window_is_checked(broken):
    matching = {"iterations": 0, "max_start_epoch": 60, "expert_epochs": 60.0}
    assert not broken(trajectory.windows_end_within_training, matching=matching)
    for rule in (
        trajectory.convex_starts_before_end,
        trajectory.convex_windows_shorter_than_trajectory,
    ):
        assert not broken(rule, matching=matching, trajectory=CONVEX)
        assert not broken(rule, matching=matching, trajectory=BEZIER)


def test_only_a_line_or_a_curve_allows_a_fraction_of_an_epoch(broken):
    rule = trajectory.sgd_windows_have_whole_epochs
    assert not broken(rule, matching={"expert_epochs": 2.0})
    assert not broken(rule, matching={"expert_epochs": 2.5}, trajectory=CONVEX)
    assert not broken(rule, matching={"expert_epochs": 2.5}, trajectory=BEZIER)
    (error,) = broken(rule, matching={"expert_epochs": 2.5})
    assert error.code == "fractional-expert-epochs"
    assert "2.5" in error.problem


@pytest.mark.parametrize("path", [CONVEX, BEZIER])
def test_starts_on_a_line_or_a_curve_reach_up_to_the_end_and_not_past_it(path, broken):
    rule, experts = trajectory.convex_starts_before_end, {"epochs": 50}
    assert not broken(rule, experts=experts, matching={"max_start_epoch": 50}, trajectory=path)
    assert not broken(rule, experts=experts, matching={"max_start_epoch": 51})
    (error,) = broken(rule, experts=experts, matching={"max_start_epoch": 51}, trajectory=path)
    assert error.code == "convex-start-past-end"
    assert ("51" in error.problem, "50" in error.problem) == (True, True)


def test_experts_of_three_epochs_have_four_waypoints_at_most(broken):
    rule, experts = trajectory.waypoints_at_distinct_epochs, {"epochs": 3}
    assert not broken(rule, experts=experts, trajectory={**CONVEX, "waypoints": 4})
    (error,) = broken(rule, experts=experts, trajectory={**CONVEX, "waypoints": 5})
    assert error.code == "more-waypoints-than-epochs"
    assert error.hint == "use at most 4, or set experts.epochs = 4"


def test_neighbour_smoothing_needs_two_epochs(broken):
    rule, smoothed = trajectory.smoothing_has_neighbours, {**CONVEX, "neighbour_smoothing": True}
    assert not broken(rule, experts={"epochs": 2}, trajectory=smoothed)
    assert not broken(rule, experts={"epochs": 1}, trajectory=CONVEX)
    (error,) = broken(rule, experts={"epochs": 1}, trajectory=smoothed)
    assert error.code == "smoothing-needs-neighbours"


@pytest.mark.parametrize(
    ("spacing", "sampling", "allowed"),
    [
        ("path", "uniform_lambda", True),
        ("uniform", "uniform_lambda", True),
        ("decreasing", "uniform_lambda", True),
        ("projected", "uniform_lambda", False),
        ("path_per_tensor", "uniform_lambda", False),
        ("projected", "continuous", True),
        ("path_per_tensor", "discrete", True),
    ],
)
def test_position_is_drawn_only_if_it_belongs_to_one_epoch(spacing, sampling, allowed, broken):
    errors = broken(
        trajectory.sampled_position_has_one_epoch,
        trajectory={**CONVEX, "spacing": spacing, "sampling": sampling},
    )
    assert [e.code for e in errors] == ([] if allowed else ["lambda-without-epoch"])


@pytest.mark.parametrize(
    ("path", "kept"), [(CONVEX, "only its waypoints"), (BEZIER, "only its ends and its control")]
)
def test_forgetting_needs_snapshots_which_a_line_or_a_curve_drops(path, kept, broken):
    rule, forgetting = trajectory.forgetting_has_snapshots, {"init": "forgetting"}
    assert not broken(rule, synthetic=forgetting)
    assert not broken(rule, synthetic={"init": "herding"}, trajectory=path)
    (error,) = broken(rule, synthetic=forgetting, trajectory=path)
    assert error.code == "convex-has-no-snapshots"
    assert kept in error.problem


@pytest.mark.parametrize(
    ("first_bound", "allowed"), [(4, False), (5, False), (6, True), (20, True), (21, False)]
)
def test_first_bound_is_above_the_minimum_and_at_most_the_maximum(first_bound, allowed, broken):
    starts = {"name": "growing", "first_bound": first_bound, "iterations": 100}
    errors = broken(
        trajectory.first_bound_within_start_range,
        matching={"min_start_epoch": 5, "max_start_epoch": 20, "start_range": starts},
    )
    assert [e.code for e in errors] == ([] if allowed else ["bound-does-not-grow"])
    assert all(e.hint == "use a value from 6 to 20" for e in errors)


def test_empty_start_range_is_reported_once(broken):
    starts = {"name": "growing", "first_bound": 3, "iterations": 100}
    matching = {"min_start_epoch": 20, "max_start_epoch": 20, "start_range": starts}
    assert broken(trajectory.start_range_not_empty, matching=matching)
    assert not broken(trajectory.first_bound_within_start_range, matching=matching)


@pytest.mark.parametrize(("iterations", "warned"), [(0, False), (99, True), (100, False)])
def test_growing_bound_needs_as_many_iterations_as_it_grows(iterations, warned, broken):
    starts = {"name": "growing", "first_bound": 3, "iterations": 100}
    warnings = broken(
        trajectory.growing_bound_reaches_maximum,
        matching={"iterations": iterations, "start_range": starts},
    )
    expected = [("bound-stops-growing", "warning")] if warned else []
    assert [(w.code, w.severity) for w in warnings] == expected


@pytest.mark.parametrize("path", [CONVEX, BEZIER])
@pytest.mark.parametrize(("length", "warned"), [(49.5, False), (50.0, True)])
def test_window_as_long_as_the_line_or_the_curve_is_a_warning(length, warned, path, broken):
    warnings = broken(
        trajectory.convex_windows_shorter_than_trajectory,
        experts={"epochs": 50},
        matching={"expert_epochs": length},
        trajectory=path,
    )
    expected = [("every-target-is-the-end", "warning")] if warned else []
    assert [(w.code, w.severity) for w in warnings] == expected


@pytest.mark.parametrize("path", [CONVEX, BEZIER])
def test_intermediate_matching_needs_whole_epochs(path, broken):
    rule = trajectory.intermediate_window_has_whole_epochs
    whole, fraction = {"expert_epochs": 2.0}, {"expert_epochs": 2.5}
    assert not broken(rule, matching={**whole, "intermediate": {}}, trajectory=path)
    assert not broken(rule, matching=fraction, trajectory=path)
    (error,) = broken(rule, matching={**fraction, "intermediate": {}}, trajectory=path)
    assert error.code == "fractional-intermediate"


def test_intermediate_matching_needs_a_step_for_every_epoch(broken):
    rule = trajectory.intermediate_epochs_within_steps
    matching = {"expert_epochs": 3.0, "intermediate": {}}
    assert not broken(rule, matching={**matching, "syn_steps": 3})
    (error,) = broken(rule, matching={**matching, "syn_steps": 2})
    assert error.code == "more-epochs-than-steps"
    assert "at least 3" in error.hint
    assert not broken(rule, matching={"expert_epochs": 3.0, "syn_steps": 2})


def test_intermediate_matching_needs_the_last_step_as_matched_step(broken):
    rule = trajectory.intermediate_matches_last_step
    assert not broken(rule, matching={"intermediate": {}})
    assert not broken(rule, matching={"matched_step": "nearest"})
    (error,) = broken(rule, matching={"intermediate": {}, "matched_step": "nearest"})
    assert error.code == "nearest-with-intermediate"
