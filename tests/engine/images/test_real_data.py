"""Images as networks receive them: normalised or whitened, chosen, held out."""

import numpy as np
import pytest
import torch

from ddspec.engine.exchange.synthetic_file import to_pixels
from ddspec.engine.images.real_data import load_data
from ddspec.engine.images.sources.find_images import find_source
from ddspec.engine.images.sources.ingest import dataset_facts
from ddspec.engine.store.artifacts import read_whitening
from ddspec.engine.store.store import Store
from tests.engine.images.samples import (
    CPU,
    FOLDER,
    load_training_data,
    members,
    plan_of,
    source_of,
    write_folder,
)


def test_normalised_images_convert_back_to_pixels(tmp_path):
    write_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    plan = plan_of(facts)
    data = load_data(plan.step("dataset"), store, CPU)
    assert data.train_images.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (data.train_images.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    raw = find_source(FOLDER, tmp_path, fetch=False).read()
    back = (to_pixels(data.train_images.numpy(), facts, None) * 255).round().astype(np.uint8)
    assert np.array_equal(back, raw.train.images)


def test_whitened_images_convert_back_and_the_whitening_is_fitted_once(tmp_path):
    write_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    plan = plan_of(facts, "dataset.zca=true")
    data = load_data(plan.step("dataset"), store, CPU)
    (kept,) = (store.root / "whitening").glob("*.h5")
    before = kept.stat().st_mtime_ns
    load_data(plan.step("dataset"), store, CPU)
    assert kept.stat().st_mtime_ns == before
    raw = find_source(FOLDER, tmp_path, fetch=False).read()
    whitening = read_whitening(store, plan.step("dataset"))
    back = to_pixels(data.train_images.numpy(), facts, whitening)
    np.testing.assert_allclose(back, raw.train.images / 255, atol=1e-4)
    assert not (data.train_images.mean(dim=(0, 2, 3)).abs() > 1e-3).any()


@pytest.mark.parametrize("form", ["frepo", "kip"])
def test_each_form_of_whitening_has_an_artifact_of_its_own(form, tmp_path):
    write_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    step = plan_of(facts, f"dataset.zca='{form}'").step("dataset")
    seen = load_data(step, store, CPU).train_images
    again = load_data(step, store, CPU).train_images
    usual = load_data(plan_of(facts, "dataset.zca=true").step("dataset"), store, CPU).train_images
    assert torch.equal(seen, again) and not torch.allclose(seen, usual, atol=0.01)
    assert len(list((store.root / "whitening").glob("*.h5"))) == 2
    raw = find_source(FOLDER, tmp_path, fetch=False).read().train.images / 255
    back = to_pixels(seen.numpy(), facts, read_whitening(store, step))
    if form == "frepo":
        np.testing.assert_allclose(back, raw, atol=1e-4)
    else:
        assert abs(back.mean() - raw.mean()) < 0.05


def test_classes_are_taken_in_the_order_that_a_spec_names_them(tmp_path):
    write_folder(tmp_path / "pets", members(("ant", "bee", "cat"), train=4))
    store = Store(tmp_path / "store")
    facts, raw = dataset_facts(FOLDER, tmp_path, store), source_of(tmp_path).read()
    chosen = ['dataset.classes=["cat", "ant"]', "dataset.images_per_class=3"]
    data, as_bytes, step = load_training_data(facts, store, *chosen)
    expected = np.concatenate([raw.train.images[8:11], raw.train.images[0:3]])
    assert np.array_equal(as_bytes(data.train_images), expected)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 0, 1, 1]
    assert step.facts.class_names == ("cat", "ant")
    assert step.facts.train_per_class == (3, 3)


def test_held_out_images_are_random_in_each_class_and_not_trained_on(tmp_path):
    write_folder(tmp_path / "pets", members(train=10))
    store = Store(tmp_path / "store")
    facts, raw = dataset_facts(FOLDER, tmp_path, store), source_of(tmp_path).read()
    data, as_bytes, step = load_training_data(facts, store, "dataset.validation=0.3")
    assert step.facts.train_per_class == (7, 7)
    assert step.facts.validation_per_class == (3, 3)
    assert data.validation_labels.tolist() == [0, 0, 0, 1, 1, 1]
    kept, held = (
        {i.tobytes() for i in as_bytes(d)} for d in (data.train_images, data.validation_images)
    )
    assert not kept & held
    assert kept | held == {image.tobytes() for image in raw.train.images}
    for other, same in ((0, True), (1, False)):
        again, _, _ = load_training_data(
            facts, store, "dataset.validation=0.3", f"dataset.split_seed={other}"
        )
        assert torch.equal(again.validation_images, data.validation_images) == same


def test_whitening_is_fitted_on_the_images_to_train_on(tmp_path):
    write_folder(tmp_path / "pets", members(train=10))
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    fitted = []
    for share in (0.0, 0.3):
        step = plan_of(facts, "dataset.zca=true", f"dataset.validation={share}").step("dataset")
        load_data(step, store, CPU)
        fitted.append(read_whitening(store, step).mean)
    assert not np.allclose(*fitted)
