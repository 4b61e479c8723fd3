"""Tasks in processes give the same results as one by one, whatever ends them."""

import multiprocessing
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from ddspec.dsl.diagnostics import MachineError
from ddspec.engine.control import Control, Diverged, Interrupted, Progress
from ddspec.engine.machine.processes import run_in_processes

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="on other systems tasks run one by one"
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_all(work, tasks, processes, control=None):
    return list(run_in_processes(work, tasks, processes, control or Control(), 0, len(tasks)))


def test_results_come_in_the_order_of_tasks_from_other_processes():
    def work(task, control):
        time.sleep(0.2 / (1 + task))
        return task, os.getpid()

    results = run_all(work, range(5), 3)
    assert [task for task, _ in results] == [*range(5)]
    assert len({pid for _, pid in results} | {os.getpid()}) == 4
    assert {pid for _, pid in run_all(work, range(2), 1)} == {os.getpid()}


def test_numbers_do_not_depend_on_processes():
    def work(task, control):
        generator = torch.Generator().manual_seed(task)
        images = torch.randn(16, 3, 8, 8, generator=generator, requires_grad=True)
        loss = torch.nn.functional.conv2d(images, images[:4, :, :3, :3]).square().sum()
        (gradient,) = torch.autograd.grad(loss, images)
        return gradient.numpy().tobytes()

    assert run_all(work, range(4), 2) == run_all(work, range(4), 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_progress_counts_the_whole_step(processes):
    reports = []

    def work(task, control):
        for done in (1, 2):
            control.report(Progress("step", done, 2, {"task": float(task)}))

    control = Control(reports.append)
    list(run_in_processes(work, range(3), processes, control, 4, 10))
    assert [progress.done for progress in reports] == [5, 6, 7, 8, 9, 10]
    assert {progress.total for progress in reports} == {10}


@pytest.mark.parametrize("processes", [1, 2])
def test_error_of_the_first_failed_task_is_raised(processes, tmp_path):
    def work(task, control):
        (tmp_path / str(task)).touch()
        time.sleep(0.3 if task == 1 else 0.0)
        if task:
            raise Diverged(cause=f"task {task}", advice="less", at=task, expert=task)
        return task

    results = run_in_processes(work, range(9), processes, Control(), 0, 9)
    assert next(results) == 0
    with pytest.raises(Diverged, match="task 1") as caught:
        next(results)
    assert (caught.value.advice, caught.value.at, caught.value.expert) == ("less", 1, 1)
    assert not (tmp_path / "4").exists()


def test_unexpected_error_in_a_worker_keeps_its_traceback():
    def work(task, control):
        return [][task]

    with pytest.raises(IndexError) as caught:
        run_all(work, range(2), 2)
    assert "in work" in "".join(caught.value.__notes__)


def test_killed_worker_is_reported():
    def work(task, control):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(MachineError, match="ended from outside \\(-9\\)"):
        run_all(work, range(2), 2)


def test_signal_stops_every_task_at_its_next_check(tmp_path):
    started = set()

    def stop_when_both_run(progress):
        started.add(progress.figures["task"])
        if len(started) == 2:
            control.stopped_by = signal.SIGTERM

    control = Control(stop_when_both_run)

    def work(task, control):
        control.report(Progress("step", 0, 1, {"task": float(task)}))
        try:
            while True:
                time.sleep(0.01)
                control.leave_if_stopped()
        finally:
            (tmp_path / f"stopped {task}").touch()

    with pytest.raises(Interrupted) as caught:
        run_all(work, range(4), 2, control)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} == {"stopped 0", "stopped 1"}


def test_workers_ignore_signals():
    def work(task, control):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return task

    assert run_all(work, range(2), 2) == [0, 1]


def test_workers_end_when_results_are_no_longer_read():
    def work(task, control):
        if task:
            time.sleep(60)
        return os.getpid()

    with closing(run_in_processes(work, range(2), 2, Control(), 0, 2)) as results:
        next(results)
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
    control = Control()

    def work(task, control):
        return float(torch.ones(2**24).sum())

    run_all(work, range(2), 2, control)
    assert 2 * 60e6 < control.workers_bytes < 2 * 200e6
