"""Facts of a dataset, and of the part of it that a spec asks for."""

import pytest

from ddspec.dsl.facts.datasets import prepared, with_held_out
from ddspec.dsl.spec.dataset import Dataset


@pytest.mark.parametrize("validation", [0.0, 0.01, 0.2, 0.5])
@pytest.mark.parametrize("part", [{}, {"images_per_class": 7}, {"classes": ("3", "1")}])
def test_facts_with_held_out_images_give_the_prepared_facts_again(digits_facts, validation, part):
    dataset = Dataset(name="digits", validation=validation, **part)
    once = prepared(digits_facts, dataset)
    assert prepared(with_held_out(once), dataset) == once
    assert sum(with_held_out(once).train_per_class) == once.train_count + once.validation_count
