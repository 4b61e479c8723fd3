"""Rules on experts, on both sides of their borders."""

import pytest

from ddspec.dsl.rules import experts

DIGEST = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("table", "fits", "hint"),
    [
        (
            {"init": {"name": "representative", "expert": 3}},
            True,
            "",
        ),
        (
            {"init": {"name": "representative", "expert": 4}},
            False,
            "use at most 3, or set experts.count to at least 5",
        ),
        ({"init": {"name": "correct", "experts": 4}}, True, ""),
        (
            {"init": {"name": "correct", "experts": 5}},
            False,
            "use at most 4, or set experts.count to at least 5",
        ),
        ({"labels": {"name": "learned", "lr": 1.0}}, True, ""),
        ({"labels": {"name": "learned", "lr": 1.0, "experts": 4}}, True, ""),
        (
            {"labels": {"name": "learned", "lr": 1.0, "experts": 5}},
            False,
            "use at most 4, or set experts.count to at least 5",
        ),
    ],
)
def test_requested_experts_are_among_those_trained(table, fits, hint, broken):
    errors = broken(experts.requested_experts_exist, experts={"count": 4}, synthetic=table)
    assert [(e.code, e.hint) for e in errors] == ([] if fits else [("no-such-expert", hint)])


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({"imported": DIGEST, "count": 3, "epochs": 30}, []),
        ({"imported": DIGEST, "batch_size": 64}, ["experts.batch_size"]),
        ({"imported": DIGEST, "seed": 1, "batch_size": 64}, ["experts.batch_size", "experts.seed"]),
        ({"batch_size": 64}, []),
    ],
)
def test_imported_experts_have_no_key_on_training(table, keys, broken):
    errors = broken(experts.imported_experts_not_trained, experts=table)
    assert sorted(e.key for e in errors) == keys
    assert {e.code for e in errors} <= {"imported-and-trained"}


@pytest.mark.parametrize(
    ("init", "labels", "warned"),
    [
        ("noise", "hard", False),
        ("real", "expert", False),
        ("noise", "expert", True),
        ("noise", {"name": "learned", "lr": 1.0}, True),
    ],
)
def test_soft_labels_of_noise_are_a_warning(init, labels, warned, broken):
    warnings = broken(
        experts.soft_labels_start_from_real_images, synthetic={"init": init, "labels": labels}
    )
    expected = [("soft-labels-of-noise", "warning")] if warned else []
    assert [(w.code, w.severity) for w in warnings] == expected


def test_every_cluster_gets_an_image(broken):
    rule, init = experts.clusters_within_ipc, {"name": "representative"}
    assert not broken(rule, synthetic={"ipc": 5, "init": {**init, "clusters": 5}})
    assert not broken(rule, synthetic={"ipc": 5, "init": init})
    (error,) = broken(rule, synthetic={"ipc": 5, "init": {**init, "clusters": 6}})
    assert error.code == "more-clusters-than-images"
    assert ("6" in error.problem, "use at most 5" in error.hint) == (True, True)


@pytest.mark.parametrize(("epoch", "warned"), [(29, False), (30, True), (40, True)])
def test_learning_rate_drops_before_the_last_epoch(epoch, warned, broken):
    table = {"epochs": 30, "lr_decay": {"epoch": epoch, "factor": 0.5}}
    warnings = broken(experts.lr_decay_within_training, experts=table)
    expected = [("decay-after-the-end", "warning")] if warned else []
    assert [(w.code, w.severity) for w in warnings] == expected


@pytest.mark.parametrize(("epochs", "warned"), [(4, False), (5, True), (10, True)])
def test_clipped_loss_reaches_full_weight_before_the_last_epoch(epochs, warned, broken):
    table = {"epochs": 5, "smoothing": {"clipped_loss": {"epochs": epochs}}}
    warnings = broken(experts.clipped_loss_reaches_full_weight, experts=table)
    expected = [("clipped-to-the-end", "warning")] if warned else []
    assert [(w.code, w.severity) for w in warnings] == expected


@pytest.mark.parametrize(
    ("epochs", "shares", "words"),
    [
        ([], [], None),
        ([4, 9], [0.1, 0.2], None),
        ([5, 5], [0.1, 0.2], None),
        ([3], [], "has length 0, and drop_from_epochs 1"),
        ([9, 4], [0.1, 0.2], "not in rising order"),
        ([3, 9], [0.1, 0.2], "left out from epoch 3 on, before epoch 4"),
    ],
)
def test_easy_images_are_left_out_from_rising_epochs_on(epochs, shares, words, broken):
    order = {"first_share": 0.75, "all_from_epoch": 4}
    order |= {"drop_from_epochs": epochs, "drop_shares": shares}
    errors = broken(experts.dropped_images_have_epochs, experts={"data_order": order})
    assert [error.code for error in errors] == ["drop-without-epoch"] * (words is not None)
    assert all(words in error.problem for error in errors)


def test_hint_for_a_single_epoch_can_be_followed(broken):
    """An epoch below 1 does not exist, so it is not suggested."""
    (drop,) = broken(
        experts.lr_decay_within_training,
        experts={"epochs": 1, "lr_decay": {"epoch": 1, "factor": 0.5}},
    )
    (clip,) = broken(
        experts.clipped_loss_reaches_full_weight,
        experts={"epochs": 1, "smoothing": {"clipped_loss": {"epochs": 1}}},
    )
    assert drop.hint == "set experts.epochs to at least 2, or remove the key"
    assert clip.hint == "set experts.epochs to at least 2"
