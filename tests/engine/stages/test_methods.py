"""Ingredients of the methods in their stages, on real digits: laws, and bits when resumed."""

from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from ddspec.dsl.spec.objectives.trajectory import (
    GrowingStarts,
    MatchedParameters,
    NearPrevious,
    TrajectoryMatching,
)
from ddspec.dsl.terms import Sampling, Spacing
from ddspec.engine.control import Control, Diverged, Interrupted
from ddspec.engine.matching.losses import MatchTarget, expert_distances, matching_losses
from ddspec.engine.networks.flat_network import flat_network
from ddspec.engine.run.collect import collect_series
from ddspec.engine.run.execute import note_divergence
from ddspec.engine.run.reader_notes import reader_notes
from ddspec.engine.run.results import collect_evaluations
from ddspec.engine.run.status import known_divergence, step_states
from ddspec.engine.stages.experts import ranks_of_images
from ddspec.engine.stages.initialise import initialise, mean_of_correct
from ddspec.engine.stages.objectives.trajectory import refuse_still_expert
from ddspec.engine.stages.windows import Window, Windows, final_parameters, start_range_of
from ddspec.engine.store.store import Store
from ddspec.engine.training.data_order import error_norms, images_of_epoch
from ddspec.engine.training.epoch import forward_in_batches
from tests.engine.stages.test_stages import StopAt, distilled, other_store, read, same
from tests.engine.stages.whole_steps import (
    evaluate,
    make_surrogates,
    measure_path_accuracy,
    score_all_images,
    train_experts,
)
from tests.in_slow_run import first_by_default

AST = (
    "experts.optimizer.momentum=0.9",
    "experts.smoothing.clipped_loss={epochs=2}",
    "experts.smoothing.gradient_penalty={}",
    "synthetic.init=representative",
    "matching.expert_epochs=2",
    "matching.syn_steps=5",
    "matching.balanced_inner_loss={}",
    "matching.intermediate={}",
    "matching.perturbation={}",
)
MCT = (
    "trajectory.type=convex",
    "trajectory.waypoints=3",
    "trajectory.neighbour_smoothing=true",
    "trajectory.spacing=projected",
    "matching.expert_epochs=1.5",
)
FTD = ("experts.optimizer={name='gsam'}", "synthetic.images.moving_average=0.9")
TESLA = ("synthetic.labels=expert", "matching.gradient=tesla")
DATM = (
    "synthetic.labels={name='learned', lr=0.5, experts=2}",
    "matching.start_range={name='growing', first_bound=1, iterations=6}",
    "matching.loss_limit=0.99",
)
ATT = ("matching.matched_step=nearest", "matching.start_range={name='near_previous', reach=1.0}")
ORDERED = (
    "experts.data_order={score={name='el2n', networks=2, epochs=1}, first_share=0.5, "
    "all_from_epoch=2, drop_from_epochs=[3], drop_shares=[0.2]}"
)
PAD = (*DATM, "matching.parameters={drop=0.5}", ORDERED)
COMPARES_IMAGES = ("synthetic.student_lr={}", "evaluation.lr=0.01", "augmentation.siamese=true")
DSA = (
    *COMPARES_IMAGES,
    "synthetic.images={lr=0.1}",
    "matching={objective='gradient', outer_steps=3, network_epochs=2, batch_real=20}",
)
DM = (
    *COMPARES_IMAGES,
    "synthetic.images={lr=0.1, optimizer='adam', lr_decay={iterations=[3, 5], factor=0.5}}",
    "matching={objective='distribution', batch_real=20}",
)
NCFM = (
    *COMPARES_IMAGES,
    "synthetic.images={lr=0.1}",
    "matching={objective='distribution', statistic='characteristic', features='logits'}",
)
CAFE = (
    *COMPARES_IMAGES,
    "synthetic.images={lr=0.1}",
    "matching={objective='feature', batch_real=20, schedule={name='dynamic', window=2, "
    "query_per_class=5, max_pixel_steps=3, max_network_epochs=3}}",
)
RAT_BPTT = (
    "synthetic.student_lr={}",
    "evaluation.lr=0.01",
    "synthetic.images={lr=0.01, optimizer='adam'}",
    "matching={objective='performance', window=4, free_steps={most=3}, real_images=500, "
    "gradient_limit={over_mean=1.1}, student_lr=0.01}",
)
METHODS = {
    "dsa": DSA,
    "rat_bptt": RAT_BPTT,
    "dm": DM,
    "ncfm": NCFM,
    "cafe": CAFE,
    "ast": AST,
    "mct": MCT,
    "ftd": FTD,
    "tesla": TESLA,
    "datm": DATM,
    "att": ATT,
    "pad": PAD,
}


BY_DEFAULT = ("ast",)
"""Methods of the default run; the slow run has all."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in BY_DEFAULT else pytest.mark.slow) for n in METHODS],
)
def test_every_method_stopped_anywhere_ends_with_the_same_numbers(name, context, plan, tmp_path):
    made = plan(*METHODS[name], "matching.iterations=7", "evaluation.every=4")
    reports = []
    whole = distilled(replace(context, control=Control(report=reports.append)), made)
    for left in sorted({2, len(reports) - 5, len(reports) - 2}):
        stopped = replace(context, store=Store(tmp_path / str(left)), control=StopAt(left))
        with pytest.raises(Interrupted):
            distilled(stopped, made)
        again = distilled(replace(stopped, control=Control()), made)
        for number in whole:
            same(whole[number], again[number])
        assert not list((stopped.store.root / "unfinished").glob("*"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "gsam"])
def test_every_optimiser_goes_on_from_its_memory(optimizer, context, plan, tmp_path):
    asked = (f"experts.optimizer={{name='{optimizer}', lr=0.01}}", "experts.count=1")
    short, long = (plan(*asked, f"experts.epochs={epochs}") for epochs in (4, 6))
    train_experts(short.step("experts"), context)
    train_experts(long.step("experts"), context)
    fresh = other_store(context, tmp_path)
    train_experts(long.step("experts"), fresh)
    member = long.step("experts").members[0]
    same(*(read(b.store, "expert", member.digest) for b in (context, fresh)))


def expert(context, plan, *overrides):
    made = plan("experts.count=1", *overrides)
    train_experts(made.step("experts"), context)
    return read(context.store, "expert", made.step("experts").members[0].digest)["theta"]


def experts_of(made, context):
    score_all_images(made.step("scores"), context)
    train_experts(made.step("experts"), context)
    return [read(context.store, "expert", m.digest) for m in made.step("experts").members]


def test_experts_of_an_order_go_on_where_they_were_stopped(context, plan, tmp_path):
    short, long = (plan(ORDERED, f"experts.epochs={epochs}") for epochs in (4, 6))
    experts_of(short, context)
    again = experts_of(long, context)
    for whole, resumed in zip(experts_of(long, other_store(context, tmp_path)), again, strict=True):
        same(whole, resumed)


def test_order_that_has_all_images_at_once_gives_the_plain_expert_bitwise(context, plan):
    order = "experts.data_order={score={name='el2n', networks=1, epochs=1}, "
    (ordered, *_) = experts_of(plan(order + "first_share=0.5, all_from_epoch=0}"), context)
    assert np.array_equal(ordered["theta"], expert(context, plan))


def test_expert_is_trained_on_the_images_of_its_epoch_alone(context, plan):
    """In its first epoch it sees the easier half of each class, whatever the others are."""
    made = plan(ORDERED, "experts.count=1", "experts.epochs=1", "matching.max_start_epoch=1")
    (whole,) = experts_of(made, context)
    recipe, labels = made.step("experts").recipe, context.data.train_labels
    ranks = ranks_of_images(recipe, context)
    shown = images_of_epoch(recipe.experts.data_order, 0, ranks, labels)
    images = torch.zeros_like(context.data.train_images)
    images[shown] = context.data.train_images[shown]
    member = made.step("experts").members[0]
    context.store.remove("expert", member.digest)
    hidden = replace(context, data=replace(context.data, train_images=images))
    train_experts(made.step("experts"), hidden)
    assert np.array_equal(whole["theta"], read(context.store, "expert", member.digest)["theta"])
    assert 0.4 * len(labels) < len(shown) <= 0.5 * len(labels)


def test_scores_are_those_of_the_plain_experts(context, plan):
    """Network k of the scores is expert k without an order, after its first epochs."""
    made = plan(ORDERED)
    score_all_images(made.step("scores"), context)
    plain = plan("experts.epochs=1", "experts.count=2", "matching.max_start_epoch=1")
    train_experts(plain.step("experts"), context)
    net, data = flat_network(made.distill.network, context.facts), context.data
    members = (made.step("scores").members, plain.step("experts").members)
    for network, member in zip(*members, strict=True):
        theta = torch.from_numpy(read(context.store, "expert", member.digest)["theta"][1])
        expected = error_norms(net, theta, data.train_images, data.train_labels).numpy()
        assert np.array_equal(read(context.store, "scores", network.digest)["scores"], expected)


def test_network_that_diverges_before_it_scores_is_not_tried_again(context, plan):
    made = plan(ORDERED, "experts.optimizer.lr=1e6", "experts.data_order.score.epochs=4")
    step = made.step("scores")
    with pytest.raises(Diverged) as caught:
        score_all_images(step, context)
    note_divergence(caught.value, step, context.store)
    (state,) = (s for s in step_states(made, context.store) if s.step.id == "scores")
    assert "diverged" in known_divergence(step, state.missing, context.store).cause


def test_line_of_ordered_experts_is_that_of_their_snapshots(context, plan):
    (snapshots, *_) = experts_of(plan(ORDERED), context)
    _, line = lines_of(context, plan, ORDERED)
    assert np.array_equal(line["theta"], snapshots["theta"][[0, 4]])


def test_smoothing_that_does_nothing_gives_the_plain_expert_bitwise(context, plan):
    nothing = (
        "experts.smoothing.clipped_loss={start=1.0}",
        "experts.smoothing.gradient_penalty={weight=0.0}",
    )
    assert np.array_equal(expert(context, plan), expert(context, plan, *nothing))


def test_clipped_loss_is_a_lower_rate_in_its_epochs_alone(context, plan):
    """Without momentum, weight 0.5 on the loss is half the learning rate."""
    clipped = expert(context, plan, "experts.smoothing.clipped_loss={start=0.5, epochs=1}")
    slow = expert(context, plan, "experts.optimizer.lr=0.005")
    np.testing.assert_allclose(clipped[1], slow[1], rtol=1e-4, atol=1e-6)
    assert not np.allclose(clipped[2], slow[2], rtol=1e-4, atol=1e-6)


def test_restart_at_the_drop_forgets_the_momentum(context, plan):
    """AST's public code begins a new optimiser at the drop; the paper keeps the momentum."""
    asked = ("experts.optimizer.momentum=0.9",)
    kept = expert(context, plan, *asked, "experts.lr_decay={epoch=2, factor=0.5}")
    anew = expert(context, plan, *asked, "experts.lr_decay={epoch=2, factor=0.5, restart=true}")
    assert np.array_equal(kept[:3], anew[:3])
    assert np.linalg.norm(anew[3] - anew[2]) < np.linalg.norm(kept[3] - kept[2])


def lines_of(context, plan, *overrides):
    made = plan("trajectory.type=convex", *overrides)
    make_surrogates(made.step("trajectory"), context)
    member = made.step("trajectory").members[0]
    return made, read(context.store, "trajectory", member.digest)


def test_expert_itself_is_kept_where_its_end_is_smoothed(context, plan):
    """Baselines, initialisation and labels ask for the expert, not for a mean of two snapshots."""
    snapshots = expert(context, plan)
    made, line = lines_of(context, plan, "trajectory.neighbour_smoothing=true")
    assert np.array_equal(line["end"], snapshots[4])
    assert not np.array_equal(line["theta"][-1], snapshots[4])
    assert np.array_equal(final_parameters(made.trajectories, 0, context), snapshots[4])


def test_waypoints_are_snapshots_and_smoothed_ones_means_of_their_neighbours(context, plan):
    """MCT's public code: epochs t - 1 and t + 1, and of the end its last two."""
    snapshots = expert(context, plan)
    _, plain = lines_of(context, plan, "trajectory.waypoints=3")
    assert np.array_equal(plain["theta"], snapshots[[0, 2, 4]])
    _, smoothed = lines_of(
        context, plan, "trajectory.waypoints=3", "trajectory.neighbour_smoothing=true"
    )
    means = [snapshots[0], (snapshots[1] + snapshots[3]) / 2, (snapshots[3] + snapshots[4]) / 2]
    np.testing.assert_allclose(smoothed["theta"], np.stack(means), rtol=1e-5, atol=1e-7)


def test_projections_are_those_of_the_snapshots_onto_their_segment(context, plan):
    snapshots = expert(context, plan).astype(np.float64)
    _, line = lines_of(context, plan, "trajectory.waypoints=3", "trajectory.spacing=projected")
    for epoch, (first, last) in {1: (0, 2), 2: (0, 2), 3: (2, 4), 4: (2, 4)}.items():
        direction, gone = snapshots[last] - snapshots[first], snapshots[epoch] - snapshots[first]
        assert line["projection"][epoch - 1] == pytest.approx(
            gone @ direction / (direction @ direction), rel=1e-5
        )


WITHOUT_EPOCH = ("projected", "path_per_tensor")
"""Spacings on which a place belongs to no one epoch; a rule of the language refuses to draw there."""


@pytest.mark.parametrize(
    ("spacing", "sampling"),
    first_by_default(
        (
            (spacing, sampling)
            for spacing, sampling in product(get_args(Spacing), get_args(Sampling))
            if not (sampling == "uniform_lambda" and spacing in WITHOUT_EPOCH)
        ),
        count=3,
    ),
)
def test_every_spacing_and_sampling_draws_starts_in_their_range(context, plan, spacing, sampling):
    made, _ = lines_of(
        context,
        plan,
        "matching.min_start_epoch=1",
        "matching.max_start_epoch=3",
        f"trajectory.spacing={spacing}",
        f"trajectory.sampling={sampling}",
    )
    step = made.step("distill")
    net = flat_network(step.network, context.facts)
    with Windows(step, made.trajectories, net, context) as windows:
        starts = [windows.draw(i, None).epoch for i in range(40)]
    assert all(1 <= start < 3 for start in starts)
    assert all(start.is_integer() for start in starts) == (sampling == "discrete")


def test_two_waypoints_at_uniform_spacing_are_exactly_the_straight_line(context, plan):
    made, line = lines_of(context, plan, "trajectory.spacing=uniform", "experts.count=1")
    step = made.step("distill")
    net = flat_network(step.network, context.facts)
    start, end = (torch.from_numpy(row) for row in line["theta"])
    with Windows(step, made.trajectories, net, context) as windows:
        for iteration in range(5):
            window = windows.draw(iteration, None)
            assert torch.equal(window.start, torch.lerp(start, end, window.epoch / 4))
            assert torch.equal(window.target, torch.lerp(start, end, (window.epoch + 1) / 4))


def test_accuracy_along_the_path_begins_and_ends_with_the_expert(context, plan):
    made, line = lines_of(context, plan)
    measure_path_accuracy(made.step("path"), made.step("trajectory"), context)
    member = made.step("path").members[0]
    accuracy = read(context.store, "path", member.digest)["accuracy"]
    assert len(accuracy) == 5
    assert accuracy[-1] == line["test_accuracy"][-1]


@pytest.mark.slow
def test_two_waypoints_of_fifty_epochs_take_a_twentieth_of_the_bytes(context, plan):
    """Of 51 float32 snapshots, file and all, at the size of the shipped digits specs."""
    asked = ("network.depth=2", "network.width=32", "experts.epochs=50", "experts.count=1")
    made, line = lines_of(context, plan, *asked)
    size = context.store.size("trajectory", made.step("trajectory").members[0].digest)
    assert size <= 51 * line["theta"].shape[1] * 4 / 20


def between_snapshots(context, plan, *overrides):
    made = plan("matching.syn_steps=6", "matching.iterations=3", *overrides)
    return distilled(context, made)


def test_intermediate_matching_of_one_epoch_is_plain_matching(context, plan):
    runs = [
        between_snapshots(context, plan, *asked)[3] for asked in ((), ("matching.intermediate={}",))
    ]
    same(*runs)


def test_perturbation_of_size_zero_changes_no_bit(context, plan):
    runs = [
        between_snapshots(context, plan, *asked)[3]
        for asked in ((), ("matching.perturbation={rho=0.0}",))
    ]
    same(*runs)


def test_gentle_guards_change_no_bit(context, plan):
    guards = (
        "matching.loss_limit=1e6",
        "matching.gradient_limit={norm=1e6}",
        "synthetic.student_lr.positivity=hold",
    )
    same(*(between_snapshots(context, plan, *asked)[3] for asked in ((), guards)))


def test_denominator_of_the_expert_gives_another_loss(context, plan):
    losses = [
        between_snapshots(context, plan, f"matching.perturbation={{denominator='{name}'}}")[3][
            "series_matching_loss"
        ][0]
        for name in ("perturbed", "expert")
    ]
    # The noise lengthens the way that the perturbed loss is measured in.
    assert losses[0] < losses[1]


def test_skipped_update_leaves_the_set_and_is_counted(context, plan):
    sets = between_snapshots(context, plan, "matching.loss_limit=1e-6")
    assert np.array_equal(sets[0]["images"], sets[3]["images"])
    assert np.array_equal(sets[0]["student_lr"], sets[3]["student_lr"])
    assert sets[3]["series_guarded"].tolist() == [2, 2, 2]


def test_clipped_gradient_moves_the_images_by_its_limit(context, plan):
    sets = between_snapshots(
        context,
        plan,
        "matching.gradient_limit={norm=1e-7}",
        "synthetic.images.momentum=0.0",
        "matching.iterations=1",
        "evaluation.every=1",
    )
    assert sets[1]["series_guarded"].tolist() == [1]
    assert sets[1]["series_gradient_norm"][0] > 1e-7
    moved = np.linalg.norm(sets[1]["images"].astype(np.float64) - sets[0]["images"])
    # Pixels are float32, so that so small a step is rounded.
    assert moved == pytest.approx(10.0 * 1e-7, rel=0.5)


@pytest.mark.parametrize("action", ["clip", "skip"])
def test_gradient_is_limited_by_the_moving_average_of_its_norms(action, context, plan):
    limit = f"matching.gradient_limit={{over_mean=1.02, mean_decay=0.5, action='{action}'}}"
    sets = between_snapshots(context, plan, limit, "matching.iterations=6")
    norms, mean, expected = sets[6]["series_gradient_norm"], None, []
    for norm in norms:
        mean = norm if mean is None else 0.5 * mean + 0.5 * norm
        expected.append({"clip": 1, "skip": 2}[action] if norm > 1.02 * mean else 0)
    assert sets[6]["series_guarded"].tolist() == expected
    assert 0 < sum(map(bool, expected)) < 6


def test_large_gradient_is_skipped_where_that_is_asked(context, plan):
    asked = ("matching.gradient_limit={norm=1e-9, action='skip'}", "synthetic.labels=expert")
    sets = between_snapshots(context, plan, *asked)
    assert np.array_equal(sets[0]["labels"], sets[3]["labels"])
    assert np.array_equal(sets[0]["images"], sets[3]["images"])
    assert sets[3]["series_guarded"].tolist() == [2, 2, 2]


def test_learned_rate_stops_holds_or_passes_below_zero(context, plan, tmp_path):
    steep = ("synthetic.student_lr.lr=1.0", "matching.iterations=6")
    with pytest.raises(Diverged, match="student_lr") as caught:
        between_snapshots(context, plan, *steep)
    held = between_snapshots(context, plan, *steep, "synthetic.student_lr.positivity=hold")[6]
    assert (held["series_student_lr"] > 0).all()
    assert held["series_rate_held"].sum() > 0
    until = caught.value.at + 1
    asked = (*steep, f"matching.iterations={until}", "synthetic.student_lr.positivity=free")
    free = between_snapshots(context, plan, *asked)[until]
    assert free["series_student_lr"][-1] < 0


def test_expert_that_stands_still_is_named_and_not_the_rates(context, plan):
    with pytest.raises(Diverged, match=r"expert \d does not move") as caught:
        between_snapshots(context, plan, "experts.optimizer.lr=1e-30")
    assert "experts.optimizer.lr" in caught.value.advice
    assert "images.lr" not in caught.value.advice


def test_expert_that_stands_still_in_the_matched_part_is_named_with_the_share():
    """It moved in the second entry alone, and the student came near to it in that one."""
    window = Window(expert=4, epoch=2.0, start=torch.zeros(2), target=torch.tensor([0.0, 1.0]))
    matching = TrajectoryMatching(parameters=MatchedParameters(drop=0.5, by="error"))
    goals, path = [MatchTarget(1, window.target)], [window.start, torch.tensor([0.3, 0.9])]
    losses, _ = matching_losses(path, goals, window.start, parameters=matching.parameters)
    assert not losses.isfinite().any()
    distances = expert_distances(path, goals, window.start, matching.parameters)
    with pytest.raises(Diverged, match=r"expert 4 .* in the parameters that are matched") as caught:
        refuse_still_expert(7, matching, window, distances)
    assert "matching.parameters.drop" in caught.value.advice
    refuse_still_expert(7, matching, window, expert_distances(path, goals, window.start))


@pytest.mark.parametrize(
    "asked",
    [
        ("matching.intermediate={}", "matching.expert_epochs=2", "matching.perturbation={}"),
        pytest.param(("matching.matched_step=nearest",), marks=pytest.mark.slow),
        pytest.param(
            ("synthetic.labels={name='learned', lr=0.5, experts=2}",), marks=pytest.mark.slow
        ),
    ],
    ids=("intermediate and perturbation", "nearest", "learned labels"),
)
def test_every_part_of_the_parameters_is_matched_beside_other_ingredients(context, plan, asked):
    whole = between_snapshots(context, plan, *asked)[3]["series_matching_loss"]
    for part in ("{drop=0.0, by='error'}", "{drop=0.0}"):
        made = between_snapshots(context, plan, *asked, f"matching.parameters={part}")
        assert np.array_equal(made[3]["series_matching_loss"], whole)
    for part in ("{drop=0.5, by='error'}", "{drop=0.5}"):
        made = between_snapshots(context, plan, *asked, f"matching.parameters={part}")
        losses = made[3]["series_matching_loss"]
        assert np.isfinite(losses).all() and not np.isclose(losses, whole).any()


def test_rate_that_ran_away_is_named_as_the_cause(context, plan):
    asked = ("synthetic.student_lr={lr=1e6, positivity='free'}", "matching.iterations=6")
    with pytest.raises(Diverged) as caught:
        between_snapshots(context, plan, *asked)
    assert "synthetic.student_lr.lr" in caught.value.advice


def test_networks_that_run_away_are_counted(context, plan):
    made = plan("synthetic.student_lr.init=1e6")
    step = made.step("random-real-convnet")
    evaluate(step, {}, made.trajectories, context)
    arrays = read(context.store, "evaluation", step.members[0].digest)
    assert arrays["finite"].tolist() == [False, False]
    (evaluated,) = collect_evaluations(made, context.store)
    assert evaluated.ran_away == 2
    # A plan that asks for fewer networks than the store has counts its own alone.
    (fewer,) = collect_evaluations(
        plan("synthetic.student_lr.init=1e6", "evaluation.repeats=1"), context.store
    )
    assert (len(fewer.values), fewer.ran_away) == (1, 1)
    notes = reader_notes(made, collect_series(made, context.store), [evaluated])
    assert any("2 of 2 networks trained on random real images" in note for note in notes)


def test_moving_average_is_what_is_kept_and_the_learned_images_go_on(context, plan):
    sets = between_snapshots(
        context, plan, "synthetic.images.moving_average=0.75", "evaluation.every=1"
    )
    plain = between_snapshots(context, plan, "evaluation.every=1")
    average = sets[0]["images"]
    for number in (1, 2, 3):
        assert np.array_equal(sets[number]["images_learned"], plain[number]["images"])
        average = 0.75 * average + 0.25 * plain[number]["images"]
        np.testing.assert_allclose(sets[number]["images"], average, rtol=1e-5, atol=1e-6)


def test_expert_labels_are_the_targets_softmax_on_the_images_before_the_update(context, plan):
    made = plan("synthetic.labels=expert", "matching.iterations=1", "experts.count=1")
    sets = distilled(context, made)
    net = flat_network(made.step("distill").network, context.facts)
    images = torch.from_numpy(sets[0]["images"])
    end = final_parameters(made.trajectories, 0, context)
    assert torch.equal(
        torch.from_numpy(sets[0]["labels"]), forward_in_batches(net, end, images).softmax(1)
    )
    theta = read(context.store, "expert", made.trajectories.members[0].digest)["theta"]
    target = torch.from_numpy(theta[int(sets[1]["series_start_epoch"][0]) + 1])
    expected = forward_in_batches(net, target, images).softmax(1).numpy()
    np.testing.assert_allclose(sets[1]["labels"], expected, rtol=1e-5, atol=1e-7)


def test_learned_labels_begin_at_the_mean_of_the_right_experts_and_move(context, plan):
    made = plan("synthetic.labels={name='learned', lr=1.0, experts=3}", "matching.iterations=2")
    sets = distilled(context, made)
    net = flat_network(made.step("distill").network, context.facts)
    images = torch.from_numpy(sets[0]["images"])
    answers = [
        forward_in_batches(net, final_parameters(made.trajectories, i, context), images).numpy()
        for i in range(3)
    ]
    for image in range(10):
        right = [a[image] for a in answers if a[image].argmax() == image]
        expected = np.mean(right or [a[image] for a in answers], axis=0)
        np.testing.assert_allclose(sets[0]["label_logits"][image], expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(sets[0]["label_logits"], sets[2]["label_logits"])
    shares = np.exp(sets[2]["label_logits"])
    np.testing.assert_allclose(sets[2]["labels"], shares / shares.sum(1, keepdims=True), rtol=1e-5)


def test_image_that_no_expert_gets_right_takes_the_mean_of_all():
    answers = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[5.0, 0.0], [2.0, 0.0]]])
    logits = mean_of_correct(answers, torch.tensor([1, 1]))
    assert logits.tolist() == [[3.0, 0.0], [0.0, 3.0]]


def test_soft_labels_reach_the_evaluation(context, plan):
    made = plan("synthetic.labels={name='learned', lr=1.0}")
    distilled(context, made)
    sets = {m.number: m.digest for m in made.step("distill").members}
    evaluate(made.step("evaluate-convnet"), sets, made.trajectories, context)
    soft = made.step("random-real-expert-labels-convnet")
    evaluate(soft, {}, made.trajectories, context)
    values = read(context.store, "evaluation", soft.members[0].digest)["values"]
    assert len(values) == 2 and (values > 0).all()


@pytest.mark.parametrize(
    "init",
    [
        "representative",
        "{name='representative', features='logits', expert=2}",
        "{name='correct', experts=3}",
        "herding",
        "k_center",
        "forgetting",
    ],
)
def test_every_initialisation_takes_distinct_real_images_of_the_class(context, plan, init):
    made = plan(f"synthetic.init={init}", "synthetic.ipc=4", "matching.iterations=0")
    arrays = distilled(context, made)[0]
    real, labels = context.data.train_images.numpy(), context.data.train_labels.numpy()
    places = []
    for image, label in zip(arrays["images"], np.repeat(np.arange(10), 4), strict=True):
        (index,) = np.flatnonzero((real == image).all(axis=(1, 2, 3)) & (labels == label))[:1]
        places.append(index)
    assert len(set(places)) == 40
    initial = read(context.store, "synthetic", made.step("initialise").digest)
    assert initial["chosen"].tolist() == places


def test_correct_images_are_classified_correctly_by_one_of_the_experts(context, plan):
    made = plan("synthetic.init={name='correct', experts=3}", "matching.iterations=0")
    initial = distilled(context, made)[0]
    net = flat_network(made.step("distill").network, context.facts)
    images = torch.from_numpy(initial["images"])
    right = [
        (
            forward_in_batches(net, final_parameters(made.trajectories, i, context), images)
            .argmax(1)
            .numpy()
        )
        == np.arange(10)
        for i in range(3)
    ]
    assert np.logical_or.reduce(right).all()


def test_classes_without_correct_images_are_an_outcome_with_a_way_out(context, plan):
    made = plan("synthetic.init=correct", "experts.optimizer.lr=1e-9", "synthetic.ipc=100")
    train_experts(made.step("experts"), context)
    with pytest.raises(Diverged) as caught:
        initialise(made.step("initialise"), made.trajectories, context)
    assert "classify correctly" in caught.value.cause
    assert caught.value.at is None
    note_divergence(caught.value, made.step("initialise"), context.store)
    (state,) = (s for s in step_states(made, context.store) if s.step.id == "initialise")
    assert known_divergence(state.step, state.missing, context.store).iteration is None
    assert "synthetic.init" in caught.value.advice


def test_clusters_are_kept_for_a_picture(context, plan):
    made = plan("synthetic.init=representative", "synthetic.ipc=3", "matching.iterations=0")
    train_experts(made.trajectories, context)
    initialise(made.step("initialise"), made.trajectories, context)
    arrays = read(context.store, "synthetic", made.step("initialise").digest)
    counts = context.facts.train_per_class[:4]
    assert np.bincount(arrays["cluster_class"]).tolist() == list(counts)
    assert arrays["cluster_points"].shape == (sum(counts), 2)
    for label in range(4):
        inside = arrays["cluster_class"] == label
        assert arrays["cluster_chosen"][inside].sum() == 3
        assert set(arrays["cluster_number"][inside]) == {0, 1, 2}


def test_starts_near_the_previous_one_stay_in_reach_and_in_range():
    matching = TrajectoryMatching(
        min_start_epoch=2,
        max_start_epoch=12,
        start_range=NearPrevious(name="near_previous", reach=3.0),
    )
    assert start_range_of(matching, 0, None).whole() == (2, 12)
    assert start_range_of(matching, 1, 6.0).whole() == (3, 10)
    assert start_range_of(matching, 1, 11.0).whole() == (8, 12)
    near = start_range_of(matching, 1, 2.5)
    assert (near.low, near.high) == (2, 5.5)


def test_places_near_the_previous_start_stay_in_reach_on_the_line(context, plan):
    made, _ = lines_of(
        context,
        plan,
        "matching.max_start_epoch=4",
        "trajectory.sampling=uniform_lambda",
        "matching.start_range={name='near_previous', reach=1.0}",
    )
    step = made.step("distill")
    net = flat_network(step.network, context.facts)
    with Windows(step, made.trajectories, net, context) as windows:
        for previous in (0.2, 1.7, 3.9):
            starts = [windows.draw(i, previous).epoch for i in range(40)]
            assert max(0, previous - 1) <= min(starts) <= max(starts) <= min(4, previous + 1)


def test_bound_grows_in_whole_epochs_and_stops_at_the_end():
    growing = GrowingStarts(name="growing", first_bound=10, iterations=1000)
    matching = TrajectoryMatching(max_start_epoch=20, start_range=growing)
    bounds = [start_range_of(matching, i, None).whole()[1] for i in (0, 99, 100, 550, 1000, 5000)]
    assert bounds == [10, 10, 11, 15, 20, 20]


def test_balanced_student_takes_longer_or_shorter_steps(context, plan):
    """The weight acts on the student as a factor on its learning rate."""
    balanced = between_snapshots(
        context, plan, "matching.iterations=1", "matching.balanced_inner_loss={}"
    )[1]
    weight = float(balanced["series_inner_weight"][0])
    rate = 0.01 * weight
    scaled = between_snapshots(
        context, plan, "matching.iterations=1", f"synthetic.student_lr.init={rate!r}"
    )[1]
    assert weight != 1
    assert balanced["series_matching_loss"][0] == pytest.approx(
        scaled["series_matching_loss"][0], rel=1e-5
    )
    assert balanced["series_inner_loss"][0] == pytest.approx(
        scaled["series_inner_loss"][0], rel=1e-5
    )


def test_random_real_images_are_the_same_with_and_without_expert_labels(context, plan):
    from ddspec.engine.stages.evaluate import EvaluationInputs, training_set

    made = plan()
    train_experts(made.trajectories, context)

    def inputs_of(step):
        return EvaluationInputs(step, {}, made.trajectories)

    hard, soft = (
        training_set(inputs_of(made.step(f"{name}-convnet")), 0, 1, context)
        for name in ("random-real", "random-real-expert-labels")
    )
    assert torch.equal(hard.images, soft.images)
    assert soft.labels.shape == (10, 10)
    torch.testing.assert_close(soft.labels.sum(1), torch.ones(10))
