"""The list of shipped specs: which are listed, and what their headers say."""

import pytest

from ddspec.shipped import Shipped, chosen, cost, listing_rows, measured_accuracy, shipped


@pytest.mark.parametrize(
    ("dataset", "method", "names"),
    [
        ("cifar10", "dm", ["dm/cifar10_ipc1", "dm/cifar10_ipc10", "dm/cifar10_ipc50"]),
        ("digits", "MCT", ["ablation_mct_digits", "digits_mct_ipc1", "digits_mct_ipc10"]),
        ("svhn", "mct", []),
        ("digits", "m", []),
    ],
)
def test_specs_are_chosen_by_dataset_and_by_a_word_of_their_names(dataset, method, names):
    listed = chosen(shipped().values(), dataset, method)
    assert sorted(spec.name for spec in listed) == names


def test_all_specs_are_listed_and_digits_first():
    rows = listing_rows(chosen(shipped().values(), None, None))
    assert len(rows) == 1 + len(shipped())
    datasets = [row[1] for row in rows[1:]]
    assert set(datasets[: datasets.count("digits")]) == {"digits"}


HEADER = """\
# Accuracy:  26.0 +- 0.8 % published (AST (arXiv:2310.10541), Table III; over 5 sets of 20
#            networks, last iterate); not yet run in full with ddspec.
# Measured:  27.1 % on convnet (n = 1) with matching.iterations = 500: reproductions/x
# Cost:      about 0.9 hours on one GPU for all five sets and 6.1 GB of its memory, by counting
"""


def test_measured_accuracy_is_never_the_published_one():
    assert measured_accuracy(HEADER) == "27.1"
    assert measured_accuracy(HEADER.replace("# Measured:  27.1", "# Measure:  27.1")) == "-"
    assert cost(HEADER) == "0.9 h, GPU"


def test_header_of_a_spec_without_published_numbers_has_what_was_measured():
    spec: Shipped = shipped()["digits_dm_ipc10"]
    assert measured_accuracy(spec.text) == "97.5 +- 0.4"
    assert cost(spec.text) == "0.01 h, CPU"
    published = [s for s in shipped().values() if s.values.get("expect")]
    assert all("# Measured:" in s.text for s in published if measured_accuracy(s.text) != "-")
