"""What a record says of the chosen synthetic set, against the set itself."""

import numpy as np
import pytest

from ddspec.dsl.plan.steps import member_preimage
from ddspec.dsl.record.synthetic_set import SetExtremes
from ddspec.engine.run.set_summary import clusters, set_extremes, soft_labels
from ddspec.engine.store.provenance import Provenance


def put_set(context, plan, labels, images=None):
    step = plan.step("distill")
    arrays = {
        "labels": labels,
        "images": np.zeros((10, 1, 8, 8), np.float32) if images is None else images,
    }
    preimage = member_preimage(step.preimage, step.members[-1].number)
    context.store.put("synthetic", preimage, arrays, Provenance())
    return step.members[-1].number


def test_soft_labels_are_summed_up_by_the_mean_of_each_class(context, plan, results_at):
    made = plan("synthetic.ipc=2")
    generator = np.random.default_rng(0)
    labels = generator.dirichlet(np.ones(10), size=20)
    # Most labels give their own class the largest share, which is not the one looked for.
    labels = ((labels + np.eye(10).repeat(2, axis=0)) / 2).astype(np.float32)
    put_set(context, made, labels)
    summary = soft_labels(made, context.store, results_at())
    for label in range(10):
        mean = [sum(labels[row, c] for row in (2 * label, 2 * label + 1)) / 2 for c in range(10)]
        assert summary.own[label] == pytest.approx(mean[label], rel=1e-6)
        others = {c: share for c, share in enumerate(mean) if c != label}
        assert summary.other[label] == max(others, key=others.get)
        assert summary.other_share[label] == pytest.approx(max(others.values()), rel=1e-6)


def test_hard_labels_and_missing_sets_have_no_summary(context, plan, results_at):
    made = plan()
    assert soft_labels(made, context.store, results_at()) is None
    number = put_set(context, made, np.arange(10))
    assert soft_labels(made, context.store, results_at(number)) is None
    assert clusters(made, context.store) == ()


def test_extremes_are_those_of_the_pixels_and_of_learned_labels(context, plan, results_at):
    made = plan("synthetic.labels.name=learned", "synthetic.labels.lr=1")
    images = np.zeros((10, 1, 8, 8), np.float32)
    images[3, 0, 4, 5], images[7, 0, 0, 0] = -2.5, np.inf
    labels = np.full((10, 10), 0.05, np.float32) + np.float32(0.5) * np.eye(10, dtype=np.float32)
    put_set(context, made, labels, images)
    assert set_extremes(made, context.store, results_at()) == SetExtremes(
        lowest_pixel=-2.5,
        highest_pixel=float(np.finfo(np.float32).max),
        least_certain_label=float(np.float32(0.55)),
    )


def test_extremes_of_hard_labels_have_no_certainty(context, plan, results_at):
    made = plan()
    assert set_extremes(made, context.store, results_at()) is None
    put_set(context, made, np.arange(10))
    assert set_extremes(made, context.store, results_at()).least_certain_label is None
