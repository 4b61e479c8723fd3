"""Rules on images and networks, on both sides of their borders."""

import pytest

from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.rules import data

FOLDER = {"name": "folder", "root": "my_images"}


def facts_with(**fields):
    return KNOWN["digits"].model_copy(update=fields)


def test_student_batch_is_at_most_the_synthetic_set(broken):
    rule, synthetic = data.student_batch_within_synthetic_set, {"ipc": 3}
    assert not broken(rule, synthetic=synthetic, matching={"batch_syn": 30})
    assert not broken(rule, synthetic=synthetic)
    (error,) = broken(rule, synthetic=synthetic, matching={"batch_syn": 31})
    assert error.code == "batch-larger-than-synthetic-set"
    assert ("31" in error.problem, "use at most 30" in error.hint) == (True, True)


def test_rule_on_an_unknown_dataset_is_silent(broken):
    for rule in (data.student_batch_within_synthetic_set, data.pooling_leaves_a_pixel):
        assert not broken(rule, dataset=FOLDER, network={"depth": 8}, matching={"batch_syn": 99})


@pytest.mark.parametrize(
    ("dataset", "depth", "pooling", "fits"),
    [
        ("digits", 3, "average", True),
        ("digits", 4, "average", False),
        ("digits", 4, "none", True),
        ("cifar10", 5, "max", True),
        ("cifar10", 6, "max", False),
        ("mnist", 5, "average", True),  # 28x28, padded to 32x32
        ("mnist", 6, "average", False),
    ],
)
def test_pooling_leaves_at_least_one_pixel(dataset, depth, pooling, fits, broken):
    errors = broken(
        data.pooling_leaves_a_pixel,
        dataset={"name": dataset},
        network={"depth": depth, "pooling": pooling},
    )
    assert [e.code for e in errors] == ([] if fits else ["network-too-deep"])
    assert all(f"use at most {depth - 1}" in e.hint for e in errors)


@pytest.mark.parametrize(
    ("width", "norm", "fits"), [(32, "group", True), (30, "group", False), (30, "instance", True)]
)
def test_group_norm_needs_four_equal_groups(width, norm, fits, broken):
    errors = broken(data.width_divisible_by_groups, network={"width": width, "norm": norm})
    assert [e.code for e in errors] == ([] if fits else ["width-not-divisible"])
    assert all("32" in e.hint for e in errors)


@pytest.mark.parametrize(
    ("resolution", "name", "fits"),
    [
        (32, "resnet18", True),
        (31, "resnet18", False),
        (16, "lenet", True),
        (15, "lenet", False),
        (8, "alexnet", True),
        (7, "alexnet", False),
    ],
)
def test_network_gets_images_of_its_smallest_size(resolution, name, fits, broken):
    dataset = {"name": "cifar10", "resolution": resolution}
    errors = broken(
        data.images_large_enough, dataset=dataset, evaluation={"networks": ["convnet", name]}
    )
    expected = [] if fits else [("image-too-small", "evaluation.networks")]
    assert [(e.code, e.key) for e in errors] == expected
    assert all(name not in e.hint.split(", ") for e in errors)


def test_every_network_that_does_not_fit_is_reported_once(broken):
    """The one of [network] at its name, the others at the list of evaluation networks."""
    errors = broken(
        data.images_large_enough,
        network={"name": "resnet18"},
        evaluation={"networks": ["mlp", "vgg11", "resnet18", "lenet"]},
    )
    names = sorted((e.key, e.problem.split()[0]) for e in errors)
    assert names == [
        ("evaluation.networks", '"lenet"'),
        ("evaluation.networks", '"vgg11"'),
        ("network.name", '"resnet18"'),
    ]


def test_every_class_has_ipc_images(broken):
    rule, fewest = data.classes_have_ipc_images, min(KNOWN["digits"].train_per_class)
    assert not broken(rule, synthetic={"ipc": fewest})
    (error,) = broken(rule, synthetic={"ipc": fewest + 1})
    assert error.code == "more-images-than-class-has"
    assert ('class "8"' in error.problem, error.hint) == (True, f"use at most {fewest}")


@pytest.mark.parametrize(
    ("name", "zca", "effective"),
    [("cifar100", False, True), ("cifar100", True, False), ("cifar10", False, False)],
)
def test_public_statistics_have_an_effect(name, zca, effective, broken):
    dataset = {"name": name, "statistics": "public_code", "zca": zca}
    errors = broken(data.public_statistics_differ, dataset=dataset)
    assert [e.code for e in errors] == ([] if effective else ["same-statistics"])
    assert not broken(data.public_statistics_differ, dataset={**dataset, "statistics": "own"})


def test_folder_has_a_root(broken):
    assert not broken(data.folder_has_root, dataset=FOLDER)
    assert not broken(data.folder_has_root)
    (error,) = broken(data.folder_has_root, dataset={"name": "folder"})
    assert (error.code, error.key) == ("folder-without-root", "dataset.name")


@pytest.mark.parametrize("root", ["my_images", "a/b", "Bilder 2.0", "été", "..."])
def test_plain_path_is_a_root(root, broken):
    assert not broken(data.root_within_data_folder, dataset={"name": "folder", "root": root})


@pytest.mark.parametrize(
    "root", ["../elsewhere", "/etc", "a/../../b", "a//b", "a/", ".", "a;b", "a\\b", "~x", "a\nb"]
)
def test_path_out_of_the_data_folder_is_refused(root, broken):
    (error,) = broken(data.root_within_data_folder, dataset={"name": "folder", "root": root})
    assert error.code == "root-escapes"
    assert error.problem.isprintable()


@pytest.mark.parametrize(
    ("key", "value"), [("root", "my_images"), ("color", "grey"), ("alpha", "white"), ("split", 0.2)]
)
def test_key_of_a_folder_is_for_a_folder_only(key, value, broken):
    assert not broken(data.folder_keys_only_for_folder, dataset={**FOLDER, key: value})
    (error,) = broken(data.folder_keys_only_for_folder, dataset={key: value})
    assert (error.code, error.key) == ("key-of-folder", f"dataset.{key}")


@pytest.mark.parametrize(
    ("dataset", "read"),
    [
        ({"resolution": 16, "fit": "stretch"}, True),
        ({"fit": "stretch"}, False),
        ({"fit": "crop"}, True),
        ({"name": "imagenette", "fit": "stretch"}, True),
    ],
)
def test_fit_is_set_only_if_images_are_resized(dataset, read, broken):
    errors = broken(data.fit_needs_resolution, dataset=dataset)
    assert [e.code for e in errors] == ([] if read else ["fit-without-resolution"])


def test_choice_by_validation_needs_images_held_out(broken):
    rule, choice = data.validation_images_held_out, {"choose": "validation"}
    assert not broken(rule, evaluation=choice, dataset={"validation": 0.1})
    assert not broken(rule, evaluation={"choose": "last"})
    (error,) = broken(rule, evaluation=choice)
    assert (error.code, error.key) == ("nothing-held-out", "evaluation.choose")


def test_every_class_keeps_a_training_image(broken):
    rule, dataset = data.training_images_left, {"validation": 0.5}
    assert not broken(rule, facts_with(train_per_class=(1,) * 10), dataset=dataset)
    left = facts_with(train_per_class=(1,) * 9 + (0,))
    assert not broken(rule, left)
    (error,) = broken(rule, left, dataset=dataset)
    assert (error.code, error.key) == ("nothing-held-out", "dataset.validation")
    assert 'class "9"' in error.problem


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ({"norm": "instance"}, None),
        ({"norm": "batch"}, "network.norm"),
    ],
)
def test_experts_have_no_running_statistics(network, key, broken):
    errors = broken(data.experts_without_running_statistics, network=network)
    assert [(e.code, e.key) for e in errors] == ([("expert-with-statistics", key)] if key else [])


def test_requested_classes_exist_and_are_listed_once(broken):
    rule, facts = data.requested_classes_exist, KNOWN["cifar10"]

    def problems(*classes):
        dataset = {"name": "cifar10", "classes": list(classes)}
        return [(e.code, e.hint) for e in broken(rule, facts, dataset=dataset)]

    assert problems("cat", "dog") == []
    assert problems("cat", "cat") == [("unknown-class", "list each class once")]
    assert problems("cat", "hors") == [("unknown-class", 'did you mean "horse"?')]
    ((_, hint),) = problems("cat", "0123456789")
    assert hint == ('its classes are "airplane", "automobile", "bird", "cat", "deer", ...')


@pytest.mark.parametrize(
    ("classes", "tables", "severity"),
    [
        (10, {}, None),
        (9, {}, "error"),
        (9, {"dataset": {"classes": ["0", "1"]}}, "warning"),
        (9, {"preview": ["experts.count 3 -> 2"]}, "warning"),
    ],
)
def test_missing_classes_are_an_error_unless_asked_for(classes, tables, severity, broken):
    known = KNOWN["digits"]
    facts = facts_with(
        class_names=known.class_names[:classes],
        train_per_class=known.train_per_class[:classes],
        test_per_class=known.test_per_class[:classes],
    )
    diagnostics = broken(data.dataset_complete, facts, **tables)
    expected = [("incomplete-dataset", severity)] if severity else []
    assert [(d.code, d.severity) for d in diagnostics] == expected


def test_missing_images_are_a_warning(broken):
    known = KNOWN["digits"]
    fewer = (known.train_per_class[0] - 1, *known.train_per_class[1:])
    (warning,) = broken(data.dataset_complete, facts_with(train_per_class=fewer))
    assert (warning.code, warning.severity) == ("incomplete-dataset", "warning")
    assert warning.hint == "place all images in the data folder"
