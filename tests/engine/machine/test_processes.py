"""Tasks in processes give the same results as one by one, whatever ends them."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from ddspec.engine.control import Control, Diverged, Interrupted, Progress
from ddspec.engine.machine.processes import ProcessPool, WorkerLost

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="on other systems tasks run one by one"
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ignore(task, progress):
    """Takes the progress of a task."""


def run_all(work, tasks, processes, control=None, report=ignore):
    """The ends of all tasks in their order, with up to so many processes at once."""
    pool, waiting, ended = ProcessPool(work, control or Control(), report), list(tasks), {}
    try:
        while waiting or pool.running:
            failed = any(end.error for end in ended.values())
            while waiting and not failed and len(pool.running) < processes:
                pool.start(waiting.pop(0))
            if not pool.running:
                break
            ended |= {end.task: end for end in pool.ended()}
    finally:
        pool.stop()
    return [ended[task] for task in sorted(ended)]


def results_of(work, tasks, processes):
    return [end.result for end in run_all(work, tasks, processes)]


def test_tasks_are_done_by_other_processes():
    def work(task, control):
        time.sleep(0.2 / (1 + task))
        return task, os.getpid()

    results = results_of(work, range(5), 3)
    assert [task for task, _ in results] == [*range(5)]
    assert len({pid for _, pid in results} | {os.getpid()}) == 4


def test_numbers_do_not_depend_on_processes():
    def work(task, control):
        generator = torch.Generator().manual_seed(task)
        images = torch.randn(16, 3, 8, 8, generator=generator, requires_grad=True)
        loss = torch.nn.functional.conv2d(images, images[:4, :, :3, :3]).square().sum()
        (gradient,) = torch.autograd.grad(loss, images)
        return gradient.numpy().tobytes()

    assert results_of(work, range(4), 2) == [work(task, None) for task in range(4)]


def test_progress_and_messages_arrive_with_their_task():
    reports, messages = [], []

    def work(task, control):
        control.say(f"begin {task}")
        for done in (1, 2):
            control.report(Progress("step", done, 2, {"task": float(task)}))

    control = Control(say=messages.append)
    run_all(work, range(3), 2, control, lambda task, progress: reports.append((task, progress)))
    assert sorted(messages) == ["begin 0", "begin 1", "begin 2"]
    assert sorted((task, report.done) for task, report in reports) == [
        (task, done) for task in range(3) for done in (1, 2)
    ]
    assert all(report.figures == {"task": float(task)} for task, report in reports)


def test_errors_keep_what_they_say():
    def work(task, control):
        raise Diverged(cause=f"task {task}", advice="less", at=task, expert=task)

    ends = run_all(work, [1, 2], 2)
    error = ends[0].error
    assert (str(error), error.advice, error.at, error.expert) == ("task 1", "less", 1, 1)


def test_unexpected_error_in_a_worker_keeps_its_traceback():
    def work(task, control):
        return [][task]

    error = run_all(work, range(2), 2)[0].error
    assert isinstance(error, IndexError)
    assert "in work" in "".join(error.__notes__)


def test_killed_worker_ends_its_own_task_alone():
    def work(task, control):
        if task == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        return task

    lost, done = run_all(work, range(2), 2)
    assert isinstance(lost.error, WorkerLost)
    assert "ended from outside (-9)" in str(lost.error)
    assert done.result == 1


def test_signal_stops_every_task_at_its_next_check(tmp_path):
    started = set()

    def stop_when_both_run(task, progress):
        started.add(progress.figures["task"])
        if len(started) == 2:
            control.stopped_by = signal.SIGTERM

    control = Control()

    def work(task, control):
        control.report(Progress("step", 0, 1, {"task": float(task)}))
        try:
            while True:
                time.sleep(0.01)
                control.leave_if_stopped()
        finally:
            (tmp_path / f"stopped {task}").touch()

    ends = run_all(work, range(4), 2, control, stop_when_both_run)
    assert all(isinstance(end.error, Interrupted) for end in ends)
    assert ends[0].error.exit_code == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} == {"stopped 0", "stopped 1"}


def test_workers_ignore_signals():
    def work(task, control):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return task

    assert results_of(work, range(2), 2) == [0, 1]


def test_stopped_pool_leaves_no_process():
    pool = ProcessPool(lambda task, control: time.sleep(60), Control(), ignore)
    pool.start(1)
    pool.stop()
    assert not multiprocessing.active_children()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    def parent():
        def work(task, control):
            (tmp_path / str(os.getpid())).touch()
            while True:
                time.sleep(0.01)
                control.leave_if_stopped()

        run_all(work, range(2), 2)

    pid = os.fork()
    if pid == 0:
        parent()
    try:
        wait_for(lambda: len([*tmp_path.iterdir()]) == 2)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_for(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_peak_memory_of_workers_is_measured():
    def work(task, control):
        return float(torch.ones(2**24).sum())

    for end in run_all(work, range(2), 2):
        assert 60e6 < end.memory_bytes < 200e6
