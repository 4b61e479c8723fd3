"""Tasks: what is missing of plans, in an order in which it can be made."""

import json
from dataclasses import replace

import pytest

from ddspec.dsl.diagnostics import MachineError, StoreError
from ddspec.engine.control import Control
from ddspec.engine.run.execute import execute_plan
from ddspec.engine.run.work import work
from ddspec.engine.store.artifacts import artifacts_of
from ddspec.engine.store.kept_plans import keep_plan, kept_plan, plan_name, plan_path
from ddspec.engine.store.locks import locked
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.perform import perform
from ddspec.engine.tasks.tasks import Need, Task, is_stored, lock_name, network_blocks, tasks_of

CONVEX = ("trajectory.type=convex", "trajectory.spacing=uniform")


@pytest.fixture
def store(digits_store, tmp_path):
    """A store that holds the images of the digits alone."""
    source, _ = digits_store
    for path in (source.root / "dataset").glob("*.h5"):
        (tmp_path / "dataset").mkdir(exist_ok=True)
        (tmp_path / "dataset" / path.name).write_bytes(path.read_bytes())
    return Store(tmp_path)


@pytest.mark.parametrize(
    "overrides", [(), pytest.param(CONVEX, marks=pytest.mark.slow)], ids=["sgd", "convex"]
)
def test_tasks_in_their_order_make_everything_that_is_missing(plan, store, context, overrides):
    made = plan(*overrides)
    inputs = replace(context, store=store)
    tasks = tasks_of([made], store)
    for task in tasks:
        assert all(is_stored(need, made, store) for need in task.needs)
        assert perform(task, made, inputs, Control()).status == "done"
        assert perform(task, made, inputs, Control()).status == "reused"
    assert tasks_of([made], store) == []
    for step in made.steps:
        assert all(artifact.complete for artifact in artifacts_of(step, store))


def test_evaluation_needs_its_own_synthetic_set_alone(plan, store):
    tasks = [task for task in tasks_of([plan()], store) if task.step == "evaluate-convnet"]
    assert {task.needs for task in tasks} == {
        (Need(step="distill", member=number),) for number in (0, 5, 10, 12)
    }


def test_labels_of_the_baseline_need_expert_0_alone(plan, store):
    (task,) = [t for t in tasks_of([plan()], store) if t.step.startswith("random-real-expert")]
    assert task.needs == (Need(step="dataset"), Need(step="experts", member=0))


def test_runs_that_share_experts_train_each_once(plan, store):
    shared = tasks_of([plan(), plan("matching.syn_steps=4")], store)
    assert sum(task.step == "experts" for task in shared) == 3
    assert sum(task.step == "distill" for task in shared) == 2
    longer = tasks_of([plan(), plan("matching.max_start_epoch=3")], store)
    # Experts 1 and 2 have to run one epoch more for the second run.
    assert sum(task.step == "experts" for task in longer) == 5


@pytest.mark.parametrize(
    ("first", "second", "step", "count"),
    [
        (("trajectory.waypoints=2",), ("trajectory.waypoints=3",), "trajectory", 6),
        ((), ("trajectory=convex",), "trajectory", 3),
        (("evaluation.every=5",), ("evaluation.every=4",), "distill", 2),
    ],
)
def test_runs_that_make_other_artifacts_have_tasks_of_their_own(
    plan, store, first, second, step, count
):
    convex = ("trajectory=convex",) if step == "trajectory" and first else ()
    plans = [plan(*convex, *first), plan(*convex, *second)]
    assert sum(task.step == step for task in tasks_of(plans, store)) == count


@pytest.mark.parametrize("first", [0, 1, 4, 5, 7])
def test_blocks_of_networks_cover_all_and_are_aligned(first):
    blocks = list(network_blocks(first, 12, 5))
    assert [number for block in blocks for number in range(*block)] == list(range(first, 12))
    assert all(end % 5 == 0 or end == 12 for _, end in blocks)


def test_task_survives_json(plan, store):
    for task in tasks_of([plan()], store):
        assert Task.model_validate_json(task.model_dump_json()) == task


def test_kept_plan_is_the_plan_or_nothing(plan, store):
    made = plan()
    keep_plan(made, store)
    assert kept_plan(plan_name(made), store) == made
    path = plan_path(plan_name(made), store)
    path.write_text(path.read_text().replace('"title":"', '"title":"another '))
    assert kept_plan(plan_name(made), store) is None
    assert kept_plan("0" * 32, store) is None


def test_plans_that_differ_in_routes_alone_have_two_names(plan):
    made = plan()
    steps = [s.model_copy(update={"route": replace_threads(s.route)}) for s in made.steps]
    other = made.model_copy(update={"steps": tuple(steps)})
    assert made.digest == other.digest
    assert plan_name(made) != plan_name(other)


def replace_threads(route):
    return route.model_copy(update={"threads": route.threads + 1})


def test_task_that_somebody_performs_is_left_to_him(plan, store, context):
    made = plan()
    task = tasks_of([made], store)[0]
    inputs = replace(context, store=store)
    with locked(store.root, lock_name(task, made), task.step, Control()):
        assert perform(task, made, inputs, Control()).status == "busy"
    assert perform(task, made, inputs, Control()).status == "done"


def test_work_waits_for_what_a_task_needs(plan, store):
    made = plan()
    keep_plan(made, store)
    tasks = tasks_of([made], store)
    distill = next(task for task in tasks if task.step == "distill").model_dump_json()
    with pytest.raises(StoreError, match="step distill needs experts, which is not in the store"):
        work(distill, store, Control(), wait=0.0)
    done = execute_plan(made, store, Control())
    assert done.outcome.status == "done"
    assert work(distill, store, Control(), wait=0.0).status == "reused"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": "0" * 32}, "is not in this store"),
        ({"plan": "../../secret"}, "this is not a task: plan"),
        ({"step": "distil"}, "no such task of a step distil"),
        ({"member": 77}, "no such task of a step experts"),
        ({"member": -1}, "no such task of a step experts"),
        ({"member": None}, "no such task of a step experts"),
        ({"networks": [0, 1]}, "no such task of a step experts"),
        ({"step": "distill"}, "no such task of a step distill"),
        ({"step": "evaluate-convnet"}, "no such task of a step evaluate-convnet"),
        ({"step": "evaluate-convnet", "networks": [1, 0]}, "no such task of a step evaluate-c"),
        ({"step": "evaluate-convnet", "networks": [0, 10**9]}, "no such task of a step evaluate-c"),
        ({"unknown": 1}, "this is not a task: unknown"),
        ({"networks": [0]}, "this is not a task: networks"),
    ],
)
def test_task_that_is_none_is_refused(plan, store, change, message):
    made = plan()
    keep_plan(made, store)
    task = json.loads(tasks_of([made], store)[0].model_dump_json())
    with pytest.raises(StoreError, match=message):
        work(json.dumps(task | change), store, Control(), wait=0.0)


def test_needs_are_those_of_the_plan_whatever_the_text_says(plan, store):
    made = plan()
    keep_plan(made, store)
    distill = next(task for task in tasks_of([made], store) if task.step == "distill")
    without = distill.model_copy(update={"needs": ()}).model_dump_json()
    with pytest.raises(StoreError, match="step distill needs experts"):
        work(without, store, Control(), wait=0.0)


def test_plan_for_a_gpu_is_refused_without_one(plan, store, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    made = plan()
    steps = [
        step.model_copy(update={"route": step.route.model_copy(update={"device": "cuda"})})
        for step in made.steps
    ]
    made = made.model_copy(update={"steps": tuple(steps)})
    keep_plan(made, store)
    task = tasks_of([made], store)[0].model_dump_json()
    with pytest.raises(MachineError, match="made for a GPU, but this machine has none"):
        work(task, store, Control(), wait=0.0)


def test_task_of_another_version_is_refused(plan, store):
    made = plan()
    keep_plan(made, store)
    task = tasks_of([made], store)[0].model_copy(update={"ddspec": "9.9"})
    with pytest.raises(MachineError, match=r"made by ddspec 9\.9"):
        work(task.model_dump_json(), store, Control(), wait=0.0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"step": 1}', "\x00", '{"a":' * 5000])
def test_text_that_is_no_task_is_refused(store, text):
    with pytest.raises(StoreError, match="this is not a task"):
        work(text, store, Control(), wait=0.0)
