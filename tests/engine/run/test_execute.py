"""Executors: whoever performs the tasks, and whatever ends some, the artifacts are the same."""

import multiprocessing
import signal
import threading
import time

import pytest

from ddspec.dsl.diagnostics import MachineError
from ddspec.engine.control import Control, Interrupted
from ddspec.engine.machine.environment import usable_cores
from ddspec.engine.machine.processes import can_fork
from ddspec.engine.run import execute
from ddspec.engine.run.execute import execute_plan
from ddspec.engine.stages.evaluate import EvaluationInputs, NetworkBlock, evaluate
from ddspec.engine.store.artifacts import artifact_names
from ddspec.engine.store.evaluation_file import part_digest, read_evaluation
from ddspec.engine.store.locks import locked
from ddspec.engine.store.store import Store
from ddspec.engine.tasks.tasks import lock_name, tasks_of

pytestmark = pytest.mark.skipif(not can_fork(), reason="on other systems tasks run one by one")


@pytest.fixture
def new_store(digits_store, tmp_path):
    """A function that returns a new store with the images of the digits."""

    def make(name):
        source, _ = digits_store
        (tmp_path / name / "dataset").mkdir(parents=True)
        for path in (source.root / "dataset").glob("*.h5"):
            (tmp_path / name / "dataset" / path.name).write_bytes(path.read_bytes())
        return Store(tmp_path / name)

    return make


def contents(plan, store):
    """The arrays of all artifacts of a plan as bytes."""
    arrays = {}
    for step in plan.steps:
        for kind, name, number in artifact_names(step):
            with store.open(kind, name) as file:
                arrays[step.id, number] = {key: file[key][()].tobytes() for key in file}
    return arrays


def with_processes(plan, processes):
    """The plan for so many processes at once, whatever the memory of this machine."""
    steps = tuple(step.model_copy(update={"processes": processes}) for step in plan.steps)
    return plan.model_copy(update={"steps": steps})


def one_by_one(plan):
    """The plan for one process."""
    return with_processes(plan, 1)


@pytest.fixture
def two_at_once(plan):
    """A function that returns a plan for two processes."""
    return lambda *overrides: with_processes(plan(*overrides), 2)


@pytest.mark.parametrize(
    "overrides",
    [(), pytest.param(("trajectory.type=convex",), marks=pytest.mark.slow)],
    ids=["sgd", "convex"],
)
def test_processes_make_the_artifacts_of_one_process(two_at_once, new_store, overrides):
    made = two_at_once(*overrides)
    serial, parallel = new_store("serial"), new_store("parallel")
    for which, store in ((one_by_one(made), serial), (made, parallel)):
        done = execute_plan(which, store, Control())
        assert done.outcome.status == "done"
        assert set(done.costs) == {step.id for step in made.steps} - {"dataset"}
    assert contents(made, serial) == contents(made, parallel)
    assert not list((parallel.root / "unfinished").glob("*.h5"))


@pytest.mark.slow
def test_plan_of_a_larger_machine_starts_no_more_processes_than_cores(two_at_once, new_store):
    made = with_processes(two_at_once("experts.count=20"), 1024)
    most = 0

    def count(progress):
        nonlocal most
        most = max(most, len(multiprocessing.active_children()))

    assert execute_plan(made, new_store("a"), Control(count)).outcome.status == "done"
    assert 1 <= most <= usable_cores()


@pytest.mark.slow
def test_sets_are_evaluated_while_the_distillation_goes_on(two_at_once, new_store):
    reports = []
    made = two_at_once("matching.iterations=200", "evaluation.every=100")
    execute_plan(made, new_store("a"), Control(lambda progress: reports.append(progress.step)))
    assert reports.index("evaluate-convnet") < len(reports) - 1 - reports[::-1].index("distill")


@pytest.mark.slow
def test_baselines_do_not_wait_for_the_distillation(two_at_once, new_store):
    made = two_at_once("matching.iterations=200", "evaluation.every=200")
    reports = []
    execute_plan(made, new_store("a"), Control(lambda progress: reports.append(progress.step)))
    last = len(reports) - 1 - reports[::-1].index("distill")
    assert reports.index("random-real-convnet") < last


class Killer(Control):
    """Kills the worker that reports, as often as it is told to."""

    def __init__(self, times):
        super().__init__()
        self.left, self.messages = times, []
        self.report, self.say = self.kill, self.messages.append

    def kill(self, progress):
        if self.left and progress.step == "distill" and 5 < progress.done < 50:
            self.left -= 1
            for child in multiprocessing.active_children():
                child.kill()


@pytest.mark.slow
def test_task_of_a_killed_worker_is_done_again(two_at_once, new_store):
    made = two_at_once("matching.iterations=60", "evaluation.every=60")
    undisturbed, disturbed = new_store("a"), new_store("b")
    execute_plan(made, undisturbed, Control())
    killer = Killer(2)
    done = execute_plan(made, disturbed, killer)
    assert done.outcome.status == "done", (done.outcome, killer.messages)
    assert killer.left == 0
    assert any("ended from outside (-9); it is done again" in text for text in killer.messages)
    assert contents(made, disturbed) == contents(made, undisturbed)


def test_task_whose_worker_is_killed_every_time_ends_the_run(two_at_once, new_store):
    made = two_at_once("matching.iterations=60", "evaluation.every=60")
    done = execute_plan(made, new_store("a"), Killer(100))
    assert done.outcome.status == "failed"
    assert isinstance(done.error, MachineError)
    assert "ended from outside" in done.outcome.cause


def test_run_leaves_a_task_to_another_run_and_takes_its_result(plan, new_store):
    made, store = plan(), new_store("a")
    first = tasks_of([made], store)[0]
    control, order = Control(), []
    held, let_go = threading.Event(), threading.Event()

    def say(message):
        order.append(message)
        let_go.set()

    control.say = say

    def other_run():
        with locked(store.root, lock_name(first, made), "experts", Control()):
            held.set()
            let_go.wait(60)

    def report(progress):
        if progress.done:
            order.append(progress.step)

    control.report = report
    thread = threading.Thread(target=other_run)
    thread.start()
    held.wait(60)
    done = execute_plan(one_by_one(made), store, control)
    thread.join()
    assert done.outcome.status == "done"
    waiting = "experts: another run is computing this; waiting for its result"
    assert order.count(waiting) == 1
    # What needs no expert is done meanwhile; the distillation waits.
    assert order.index("random-real-convnet") < order.index(waiting) < order.index("distill")


def test_divergence_leaves_the_baselines(two_at_once, new_store):
    made, store = two_at_once("experts.optimizer.lr=50"), new_store("a")
    done = execute_plan(made, store, Control())
    assert (done.outcome.status, done.stopped) == ("diverged", "experts")
    assert done.error is None
    (random_real,) = made.evaluations("random_real")
    assert len(read_evaluation(store, random_real.members[0].digest).networks) == 2
    again = execute_plan(made, store, Control())
    assert again.outcome == done.outcome
    assert again.costs == {}


def test_divergence_is_said_at_once_and_survives_an_interrupt(plan, new_store):
    made, messages = plan("experts.optimizer.lr=50"), []
    control = Control()

    def stop(message: str) -> None:
        messages.append(message)
        control.stopped_by = signal.SIGTERM

    control.say = stop
    done = execute_plan(one_by_one(made), new_store("a"), control)
    assert messages[0].startswith("experts: diverged")
    assert done.outcome.advice in messages[0]
    assert (done.outcome.status, done.stopped) == ("diverged", "experts")
    assert isinstance(done.error, Interrupted)


def test_artifacts_that_do_not_stay_end_the_run(plan, new_store, monkeypatch):
    made, store = plan("matching.iterations=0"), new_store("a")
    task = tasks_of([made], store)[0]
    monkeypatch.setattr(execute, "tasks_of", lambda plans, store: [task])
    done = execute_plan(one_by_one(made), store, Control())
    assert done.outcome.status == "failed"
    assert "are not in the store" in done.outcome.cause


def test_networks_that_end_out_of_order_make_the_same_evaluation(plan, new_store, context):
    made = plan("evaluation.repeats=3")
    (step,) = made.evaluations("random_real")
    step = step.model_copy(update={"route": step.route.model_copy(update={"networks": 1})})
    (member,) = step.members
    stores = []
    for name, order in (("in order", (0, 1, 2)), ("backwards", (2, 1, 0)), ("mixed", (1, 0, 2))):
        store = new_store(name)
        inputs = type(context)(context.facts, context.data, store, Control())
        for first in order:
            block = NetworkBlock(member, range(first, first + 1))
            evaluate(EvaluationInputs(step, {}, None), block, inputs)
            kept = store.has("unfinished", part_digest(step, member, first))
            have = len(read_evaluation(store, member.digest).networks)
            assert kept == (have <= first)
        stores.append(store)
    evaluations = [read_evaluation(store, member.digest) for store in stores]
    assert len(evaluations[0].networks) == 3
    assert all(e.networks == evaluations[0].networks for e in evaluations)
    assert not any(list((store.root / "unfinished").glob("*.h5")) for store in stores)


def test_part_left_by_a_killed_run_and_blocks_that_overlap_lose_no_network(
    plan, new_store, context
):
    made = plan("evaluation.repeats=4")
    (step,) = made.evaluations("random_real")
    (member,) = step.members
    whole, store = new_store("whole"), new_store("parts")

    def train(where, *block):
        inputs = type(context)(context.facts, context.data, where, Control())
        evaluate(EvaluationInputs(step, {}, None), NetworkBlock(member, range(*block)), inputs)
        return [n.accuracy for n in read_evaluation(where, member.digest).networks]

    for first in range(4):
        expected = train(whole, first, first + 1)
    assert train(store, 3, 4) == []  # A part, with nothing before it.
    assert train(store, 3, 4) == []  # It is not done again, and no empty evaluation is written.
    assert not store.has("evaluation", member.digest)
    assert len(train(store, 0, 2)) == 2
    assert len(train(store, 0, 3)) == 4  # Network 2 is added, and the part behind it.
    assert train(store, 0, 4) == pytest.approx(expected)
    assert not list((store.root / "unfinished").glob("*.h5"))


def test_expert_that_vanishes_while_others_train_is_made_again(plan, new_store):
    made, store = one_by_one(plan()), new_store("a")
    vanished = []

    def remove(progress):
        if progress.step == "experts" and progress.done == progress.total and not vanished:
            vanished.append(made.trajectories.members[0])
            store.remove("expert", vanished[0].digest)

    done = execute_plan(made, store, Control(remove))
    assert vanished
    assert done.outcome.status == "done"
    assert tasks_of([made], store) == []


def test_seconds_of_a_step_are_those_while_it_ran(monkeypatch):
    from ddspec.engine.run.costs import StepClocks

    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clocks = StepClocks()
    clocks.begin("experts")
    now = 2.0
    clocks.begin("experts")
    now = 5.0
    clocks.end("experts", 10, computed=True)
    now = 6.0
    clocks.end("experts", 30, computed=True)
    now = 60.0
    clocks.begin("experts")
    now = 61.0
    clocks.end("experts", 20, computed=True)
    clocks.begin("initialise")
    clocks.end("initialise", 0, computed=False)
    assert clocks.costs["experts"].seconds == clocks.seconds == 7.0
    assert clocks.costs["experts"].memory_bytes == 30
    assert set(clocks.costs) == {"experts"}
