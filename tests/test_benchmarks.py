"""The benchmarks run, and both implementations do the same work."""

import pytest
import torch

from benchmarks import cases, ddspec_engine, plain_pytorch, precision, store_and_startup
from benchmarks.measure import Side, Timed, ratios, time_in_turns
from benchmarks.shapes import Shape

SMALL = Shape("small", 1, 8, 2, 1, 4)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def settings_of_torch():
    """Restore the threads and the determinism that the benchmarks change."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize(
    "case",
    [
        lambda: cases.measure_distillation(SMALL, 1, 2, CPU, 1, 2),
        lambda: cases.measure_experts(SMALL, 20, 1, CPU, 1, 2),
        lambda: cases.measure_evaluation(SMALL, 1, 2, CPU, 1, 2),
        lambda: cases.measure_growth(cases.with_steps(SMALL, 1, (2, 4, 5), True), CPU, 1, 1),
        pytest.param(
            lambda: store_and_startup.start_command_line(CPU, 1, 1), marks=pytest.mark.slow
        ),
    ],
    ids=["distillation", "experts", "evaluation", "growth", "start-up"],
)
def test_every_case_runs(case):
    measured = case()
    assert all(min(timed.seconds) > 0 for timed in measured.values())
    assert len(measured) > 2


def test_errors_grow_as_precision_falls():
    results = [precision.errors(SMALL, name, 2, 3) for name in ("float32", "tf32", "bfloat16")]
    for which in ("inner", "outer"):
        exact, rounded, rough = (getattr(errors, which) for errors in results)
        assert exact < 1e-5 < rounded < rough < 0.2


def test_tf32_keeps_ten_bits_of_mantissa():
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11 - 2**-20, 1 + 2**-12, -3.0])
    assert precision.rounded(values).tolist() == [1.0, 1 + 2**-10, 1.0, 1.0, -3.0]


def test_both_sides_have_the_same_network_and_take_the_same_step(monkeypatch):
    """Without augmentation and from the same start, they end with the same images."""
    monkeypatch.setattr(plain_pytorch, "augment_batch", lambda images: images)
    theirs = plain_pytorch.PlainDistillation(SMALL, 2, 3, CPU)
    mine = ddspec_engine.EngineDistillation(SMALL, 2, 3, CPU, "kept")
    mine.step = mine.step.model_copy(
        update={"augmentation": mine.step.augmentation.model_copy(update={"families": ()})}
    )
    theirs.start, theirs.target = mine.window.start, mine.window.target
    for _ in range(2):
        theirs.iteration()
        mine.iteration()
    before = SMALL.images(4)
    assert (mine.state.images.value - before).abs().max() > 1e-4
    torch.testing.assert_close(
        mine.state.images.value, theirs.images.detach(), rtol=1e-4, atol=1e-6
    )


def test_sides_are_run_in_turn_and_their_ratios_are_of_pairs():
    calls = []
    sides = {name: Side(lambda name=name: calls.append(name), 1) for name in "ab"}
    measured = time_in_turns(sides, 2, CPU)
    # Once for their memory, once after the allocator was set, then in turn.
    assert calls == ["a", "b", "a", "a", "b", "b", "a"]
    assert all(len(timed.seconds) == 2 for timed in measured.values())
    assert ratios(Timed((2.0, 9.0), 0), Timed((1.0, 3.0), 0)) == (2.0, 2.5, 3.0)
