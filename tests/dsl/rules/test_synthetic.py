"""Rules on the synthetic set itself."""

from ddspec.dsl.rules import synthetic

TARGETS = {"name": "regression", "lr": 3e-4}


def test_hint_for_parts_with_soft_labels_can_be_followed(broken):
    rule = synthetic.partitioned_images_have_classes
    learned = {"ipc": 1, "partition": 2, "labels": {"name": "learned", "lr": 1.0}}
    (error,) = broken(rule, synthetic=learned)
    assert error.hint == 'set labels = "hard", or remove synthetic.partition'
    targets = {"ipc": 1, "partition": 2, "labels": TARGETS}
    (error,) = broken(rule, synthetic=targets, matching={"objective": "kernel"})
    assert error.hint == "remove synthetic.partition"
