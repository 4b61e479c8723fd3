"""Estimates: the laws of cost that hold whatever the measured rates are."""

from pathlib import Path

import pytest

from ddspec.dsl.facts.machine import ROUND_RATES, Machine, Rates, Speed
from ddspec.dsl.parsing.loader import load_spec
from ddspec.dsl.plan.compiler import compile_spec

MINIMAL = Path(__file__).parents[1] / "golden" / "valid" / "minimal.toml"
ONE_CORE = Machine("cpu", 1)


def step(facts, name, *overrides, machine=ONE_CORE):
    return compile_spec(load_spec(MINIMAL, overrides).spec, facts, machine).step(name)


def seconds(facts, name, *overrides, machine=ONE_CORE):
    return step(facts, name, *overrides, machine=machine).estimate.seconds


@pytest.mark.parametrize(
    ("name", "once", "twice"),
    [
        ("distill", "matching.iterations=50", "matching.iterations=100"),
        ("distill", "matching.syn_steps=10", "matching.syn_steps=20"),
        ("random-real-convnet", "evaluation.repeats=5", "evaluation.repeats=10"),
    ],
)
def test_twice_the_work_takes_twice_the_time(name, once, twice, digits_facts):
    options = ("evaluation.every=1000",)
    ratio = seconds(digits_facts, name, *options, twice) / seconds(
        digits_facts, name, *options, once
    )
    assert ratio == pytest.approx(2, rel=1e-6)


def test_every_further_expert_costs_the_same(digits_facts):
    """Expert 0 alone runs to its end; the others stop where the last window ends."""
    alone, two, three = (
        seconds(digits_facts, "experts", f"experts.count={count}") for count in (1, 2, 3)
    )
    assert alone > two - alone > 0
    assert three - two == pytest.approx(two - alone)


def test_processes_divide_the_time_by_at_most_their_number(digits_facts):
    def machine(cores):
        return Machine("cpu", cores, ROUND_RATES["cpu"].model_copy(update={"memory": 64 * 10**9}))

    options = ("experts.count=8", "network.width=32", "network.depth=2")
    alone = seconds(digits_facts, "experts", *options, machine=machine(1))
    for cores in (2, 4, 8):
        made = step(digits_facts, "experts", *options, machine=machine(cores))
        assert made.processes == cores
        assert alone / cores * (1 - 1e-9) <= made.estimate.seconds < alone


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_machine_of_another_speed_takes_another_time_by_that_factor(factor, digits_facts):
    """Only the fixed time of a step outside the network does not scale."""

    def machine(scale):
        speed = Speed(layer=1e-1 / scale, flops=1e9 * scale, bandwidth=1e8 * scale)
        rates = Rates(one_thread=speed, all_threads=speed, base_memory=0, memory=0, measured=True)
        return Machine("cpu", 1, rates)

    for name in ("experts", "distill", "evaluate-convnet"):
        ratio = seconds(digits_facts, name, machine=machine(1.0)) / seconds(
            digits_facts, name, machine=machine(factor)
        )
        assert ratio == pytest.approx(factor, rel=1e-2)


def test_bytes_of_experts_are_at_least_those_of_their_snapshots(digits_facts):
    made = step(digits_facts, "experts", "experts.count=4")
    plan = compile_spec(load_spec(MINIMAL, ["experts.count=4"]).spec, digits_facts, ONE_CORE)
    snapshots = sum(member.epochs + 1 for member in made.members)
    theta = 4 * plan.network_parameters * snapshots
    # Beside the snapshots an expert keeps one more vector, and its log.
    assert theta < made.estimate.disk_bytes < 1.2 * theta


def test_convex_trajectories_take_the_bytes_of_their_waypoints(digits_facts):
    sizes = {
        waypoints: step(
            digits_facts,
            "trajectory",
            "trajectory.type=convex",
            f"trajectory.waypoints={waypoints}",
        ).estimate.disk_bytes
        for waypoints in (2, 3, 5)
    }
    assert sizes[5] - sizes[3] == 2 * (sizes[3] - sizes[2]) > 0


def test_bezier_curve_takes_three_models_and_the_time_of_its_control_point(digits_facts):
    def estimate(*options):
        return step(digits_facts, "trajectory", *options).estimate

    line = estimate("trajectory.type=convex", "trajectory.waypoints=3")
    still, trained, longer, longest = (
        estimate("trajectory.type=bezier", f"trajectory.epochs={epochs}")
        for epochs in (0, 5, 10, 15)
    )
    assert still == line
    assert trained.disk_bytes == line.disk_bytes
    assert longest.seconds - longer.seconds == pytest.approx(longer.seconds - trained.seconds)
    # A tenth of the experts' epochs, and fewer tests.
    assert 1.05 * line.seconds < trained.seconds < 1.2 * line.seconds


def test_gradient_penalty_and_gsam_cost_more_than_plain_experts(digits_facts):
    plain = step(digits_facts, "experts").estimate
    penalised = step(digits_facts, "experts", "experts.smoothing.gradient_penalty={}").estimate
    gsam = step(digits_facts, "experts", "experts.optimizer={name='gsam', lr=0.01}").estimate
    assert penalised.seconds > 2 * plain.seconds
    assert penalised.memory_bytes > plain.memory_bytes
    assert 1.5 * plain.seconds < gsam.seconds < 2 * plain.seconds


def test_kept_graphs_cost_memory_and_save_time(digits_facts):
    def estimate(gigabytes):
        rates = ROUND_RATES["cpu"].model_copy(update={"memory": int(gigabytes * 1e9)})
        made = step(digits_facts, "distill", "synthetic.ipc=50", machine=Machine("cpu", 1, rates))
        return made.route.student_graph, made.estimate

    (kept, with_graphs), (recomputed, without) = estimate(64), estimate(0.1)
    assert (kept, recomputed) == ("kept", "recomputed")
    assert with_graphs.memory_bytes > without.memory_bytes
    assert with_graphs.seconds < without.seconds


COMPARES_IMAGES = ("synthetic.student_lr={}", "evaluation.lr=0.01", "synthetic.ipc=10")


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (
            "matching={objective='gradient', outer_steps=1, network_epochs=1}",
            "matching={objective='gradient', outer_steps=2, network_epochs=1}",
        ),
        (
            "matching={objective='gradient', outer_steps=3, network_epochs=1}",
            "matching={objective='gradient', outer_steps=3, network_epochs=9}",
        ),
        (
            "matching={objective='distribution', batch_real=8}",
            "matching={objective='distribution', batch_real=128}",
        ),
        (
            "matching={objective='feature', schedule={name='fixed', outer_steps=2, network_epochs=1}}",
            "matching={objective='feature', schedule='dynamic'}",
        ),
    ],
)
def test_more_steps_or_images_in_an_iteration_cost_more(digits_facts, small, large):
    less, more = (
        step(digits_facts, "distill", *COMPARES_IMAGES, matching).estimate.seconds
        for matching in (small, large)
    )
    assert 0 < less < more


def test_network_that_is_never_trained_costs_no_epochs(digits_facts):
    """With one pixel step the network epochs of gradient matching are never run."""
    of = "matching={{objective='gradient', outer_steps=1, network_epochs={}}}"
    few, many = (
        step(digits_facts, "distill", *COMPARES_IMAGES, of.format(epochs)).estimate
        for epochs in (1, 500)
    )
    assert few == many
