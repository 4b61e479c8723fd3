"""Recorded steps: what is replayed are the same numbers, for every shape, and nobody's memory.

Where there is no GPU, a recorder that behaves as a CUDA graph does stands for it: it reads its
arguments where the first ones lay and writes over what it gave before.
"""

import gc
import weakref

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.matching.losses import MatchTarget, matching_losses
from ddspec.engine.matching.student_optimisers import AdamSteps, HeavyBall, StudentState
from ddspec.engine.matching.unroll import InnerLoss, Student, StudentDescent, adjoint, unroll
from ddspec.engine.numerics import cuda_graphs as replay
from ddspec.engine.numerics.cuda_graphs import (
    CudaGraph,
    RecordedFunction,
    as_cuda_graph,
    collector_paused,
)
from ddspec.engine.training.epoch import (
    EpochSettings,
    LabelledImages,
    TrainingBatch,
    cross_entropy_gradient,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser

RATE = torch.tensor(0.3, dtype=torch.float64)


class FakeCudaGraph:
    """A stand-in for a CUDA graph that runs on the CPU."""

    made = 0

    def __init__(self, function, values):
        FakeCudaGraph.made += 1
        self.function = function
        self.held = [value.detach().clone() for value in values]
        self.results = function(*self.held)

    def __call__(self, values):
        for held, value in zip(self.held, values, strict=True):
            held.copy_(value)
        for result, now in zip(self.results, self.function(*self.held), strict=True):
            result.copy_(now)
        return self.results


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(replay, "CudaGraph", FakeCudaGraph)
    monkeypatch.setattr(FakeCudaGraph, "made", 0)
    return FakeCudaGraph


def test_a_replay_gives_tensors_that_stay_and_is_made_once_per_shape():
    function = RecordedFunction(lambda a, b: (a + b, a * b), FakeCudaGraph)
    FakeCudaGraph.made = 0
    ones, two = torch.ones(2), torch.full((2,), 2.0)
    first, second = function(ones, two), function(two, two)
    assert [t.tolist() for t in (*first, *second)] == [[3, 3], [2, 2], [4, 4], [4, 4]]
    function(torch.ones(3), torch.ones(3))
    function(ones.double(), two.double())
    assert FakeCudaGraph.made == 3


def test_what_is_not_recorded_is_the_function_itself():
    def function(a):
        return (a,)

    assert as_cuda_graph(function, False) is function


@pytest.mark.parametrize(
    "optimiser",
    [HeavyBall(RATE), HeavyBall(RATE, 0.7), AdamSteps(RATE)],
    ids=["plain", "heavy ball", "adam"],
)
@pytest.mark.parametrize("through_steps", [True, False])
@pytest.mark.parametrize("soft", [False, True])
def test_recorded_students_walk_and_come_back_the_same_way(
    problem, recorder, optimiser, through_steps, soft
):
    learned = [problem.images]
    if soft:
        learned.append(F.one_hot(problem.labels, 3).double())
    target = problem.start + 0.1 * torch.sin(torch.arange(len(problem.start)).double())
    batches = [slice(0, 4), slice(4, 6), slice(1, 5)]

    def batch(step, learned):
        images, *logits = learned
        labels = logits[0].softmax(1) if logits else problem.labels
        return images[batches[step]], labels[batches[step]]

    def value(theta, images, labels):
        return F.cross_entropy(problem.net(theta, images), labels)

    results = []
    for recorded in (False, True):
        loss = InnerLoss(Student(value, recorded), batch)
        for _ in range(2):
            unrolled = unroll(
                loss,
                StudentState(problem.start),
                learned,
                StudentDescent(optimiser, 3),
            )
            _, cotangents = matching_losses(unrolled.path, [MatchTarget(3, target)], problem.start)
            parts, by_rate = adjoint(loss, unrolled, learned, cotangents, through_steps)
        results.append([unrolled.losses, by_rate, *parts, *unrolled.path[:]])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    # Two sizes of a batch, each forth and back; the second iteration replays.
    assert recorder.made == 4


def test_recorded_training_ends_where_training_ends(problem, recorder):
    ends = []
    for recorded in (False, True):
        slope = recorded_gradient(cross_entropy_gradient(problem.net), recorded)
        at = OptimiserState.without_memory(problem.start)
        for epoch in range(2):
            result = train_epoch(
                slope,
                at,
                LabelledImages(problem.images, problem.labels),
                EpochSettings(4, SgdOptimiser(0.1, 0.9), ("flip", "color")),
                torch.Generator().manual_seed(epoch),
            )
            at = result.end
        ends.append((at.value, result.loss, result.accuracy))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]
    assert recorder.made == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimiser", [HeavyBall, AdamSteps])
def test_cuda_graphs_give_the_numbers_of_the_gpu_itself(problem, optimiser):
    device = torch.device("cuda")
    images, labels, start = (t.to(device) for t in (problem.images, problem.labels, problem.start))
    target = start + 0.1 * torch.sin(torch.arange(len(start), device=device).double())

    def value(theta, images, labels):
        return F.cross_entropy(problem.net(theta, images), labels)

    results = []
    for recorded in (False, True):
        loss = InnerLoss(Student(value, recorded), lambda step, learned: (learned[0], labels))
        for _ in range(2):
            unrolled = unroll(
                loss, StudentState(start), [images], StudentDescent(optimiser(RATE.to(device)), 3)
            )
            _, cotangents = matching_losses(unrolled.path, [MatchTarget(3, target)], start)
            (by_images,), by_rate = adjoint(loss, unrolled, [images], cotangents)
        results.append((by_images, by_rate, unrolled.path[-1]))
    for eager, graphed in zip(*results, strict=True):
        torch.testing.assert_close(graphed, eager, rtol=1e-12, atol=1e-14)


def test_a_student_goes_with_its_last_reference_and_takes_its_recordings_along(problem, recorder):
    # A recording that the garbage collector frees during a later one makes that one fail.
    student = Student(lambda theta, images: (problem.net(theta, images) ** 2).sum(), True)
    student.gradient(problem.start, problem.images)
    student.adjoint_step((True,), True)(problem.start, problem.start, problem.images)
    recorded = [*student.gradient.recordings.values()]
    gone = [weakref.ref(student), weakref.ref(recorded.pop())]
    gc.disable()
    try:
        del student
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_during_a_recording(collects):
    was = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), collector_paused():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() == collects
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recording_that_fails_says_what_failed():
    def fails(a):
        result = a + 1
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("CUDA out of memory, says the test")
        return (result,)

    with pytest.raises(RuntimeError, match="says the test"):
        CudaGraph(fails, [torch.zeros(1, device="cuda")])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_reads_new_arguments():
    function = RecordedFunction(lambda a: (a.square(),), CudaGraph)
    for value in (2.0, 3.0):
        (output,) = function(torch.full((4,), value, device="cuda"))
        assert output.tolist() == [value**2] * 4


def test_slopes_carry_loss_and_logits_through_a_replay(problem, recorder):
    batch = TrainingBatch(problem.images, problem.images, problem.labels)
    plain = cross_entropy_gradient(problem.net)(problem.start, batch)
    again = recorded_gradient(cross_entropy_gradient(problem.net), True)(problem.start, batch)
    for name in ("gradient", "loss", "logits"):
        assert torch.equal(getattr(plain, name), getattr(again, name))
