"""Evaluation of a synthetic set from its arrays alone gives the networks of the run."""

from dataclasses import replace

import numpy as np
import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import member_preimage
from ddspec.engine.control import Control
from ddspec.engine.run.reevaluate import reevaluate
from ddspec.engine.store.evaluation_file import read_networks
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from tests.engine.stages.whole_steps import evaluate


@pytest.fixture
def arrays(context):
    """Ten real images as a synthetic set, one per class."""
    labels = context.data.train_labels.numpy()
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(10)]
    return {
        "images": context.data.train_images[first].numpy(),
        "labels": np.arange(10),
        "student_lr": np.array(0.02, dtype=np.float32),
    }


def with_images(digits_store, folder):
    """Return a new store that holds the images of the digits alone."""
    source, _ = digits_store
    (folder / "dataset").mkdir(parents=True)
    for path in (source.root / "dataset").glob("*.h5"):
        (folder / "dataset" / path.name).write_bytes(path.read_bytes())
    return Store(folder)


def test_networks_are_those_that_the_run_trained(context, plan, digits_store, arrays, tmp_path):
    made = plan('evaluation.networks=["convnet", "mlp"]', "evaluation.epochs=2")
    member = made.step("distill").members[0]
    store = replace(context, store=Store(tmp_path / "run")).store
    store.put("synthetic", member_preimage(made.step("distill").preimage, 0), arrays, Provenance())
    expected = {}
    for step in made.evaluations("distilled"):
        alone = step.model_copy(update={"members": step.members[:1]})
        inputs = replace(context, store=store)
        evaluate(alone, {0: member.digest}, made.trajectories, inputs)
        expected[step.network_name] = read_networks(store, step.members[0].digest)

    fresh = with_images(digits_store, tmp_path / "fresh")
    networks = reevaluate(made, 0, arrays, fresh, Control())
    assert list(networks) == ["convnet", "mlp"]
    assert networks == expected

    other = {**arrays, "images": arrays["images"][::-1].copy()}
    changed = reevaluate(made, 0, other, with_images(digits_store, tmp_path / "other"), Control())
    assert changed != expected


def test_an_iteration_that_the_plan_does_not_keep_is_refused(plan, digits_store, arrays, tmp_path):
    store = with_images(digits_store, tmp_path / "store")
    with pytest.raises(RecordError, match="does not keep the synthetic set of iteration 3"):
        reevaluate(plan(), 3, arrays, store, Control())
