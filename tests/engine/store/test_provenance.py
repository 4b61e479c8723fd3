"""Provenance comes back from an artifact, and adds up over those that worked on it."""

from dataclasses import replace

import numpy as np
import pytest

from ddspec.dsl.plan.route import Route
from ddspec.dsl.record.record import Environment
from ddspec.engine.store.provenance import Provenance, Work
from ddspec.engine.store.store import Store

HERE = Environment(
    ddspec="0.1.0",
    commit=None,
    python="3.11",
    packages={"torch": "2.9"},
    system="Linux x86_64",
    device="a processor",
    cores=2,
)
THERE = HERE.model_copy(update={"device": "a GPU", "cuda": "13.0", "driver": "580.1"})
WORK = Work(Route(device="cpu", threads=2), HERE, 2.0, 3.5, 1000)


def test_work_adds_up_and_each_machine_is_named_once():
    elsewhere = Work(Route(device="cuda", threads=1), THERE, 1.0, 0.5, 4000)
    made = Provenance().then(WORK).then(elsewhere).then(WORK)
    assert made.routes == (WORK.route, elsewhere.route)
    assert made.environments == (HERE, THERE)
    assert (made.seconds, made.processor_seconds, made.memory_bytes) == (5.0, 7.5, 4000)


def test_provenance_comes_back_from_an_artifact(tmp_path):
    store, made = Store(tmp_path), Provenance().then(WORK).then(replace(WORK, environment=THERE))
    store.put("expert", {"step": "test"}, {"theta": np.zeros(3)}, made)
    (path,) = tmp_path.glob("expert/*.h5")
    assert store.provenance("expert", path.stem) == made


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_work_before_an_unknown_machine_leaves_the_machines_unknown(seconds):
    earlier = Provenance((WORK.route,), (), 10.0, seconds)
    made = earlier.then(WORK)
    assert made.environments == ()
    assert made.seconds == 12.0
    assert made.processor_seconds == (None if seconds is None else 4.5)
