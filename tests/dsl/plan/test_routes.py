"""Routes: what runs in parallel, what stays in memory, and at what speed."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from ddspec.dsl.facts.machine import ROUND_RATES, Machine, Rates, Speed
from ddspec.dsl.parsing.loader import load_spec
from ddspec.dsl.plan.route import Route
from ddspec.dsl.plan.routes import Placement, Routes

MINIMAL = Path(__file__).parents[1] / "golden" / "valid" / "minimal.toml"
SMALL = ("network.depth=2", "network.width=32")


def cores(count, gigabytes):
    """Return a machine with so many cores, whose memory is known."""
    rates = ROUND_RATES["cpu"].model_copy(update={"memory": int(gigabytes * 1e9)})
    return Machine("cpu", count, rates)


def routes(facts, machine, *overrides):
    return Routes(load_spec(MINIMAL, overrides).spec, facts, machine)


def test_small_experts_are_trained_in_parallel_as_cores_and_memory_allow(digits_facts):
    def experts(machine, count, *overrides):
        placement = routes(digits_facts, machine, *overrides).experts(count)
        return placement.route.threads, placement.processes

    assert experts(cores(2, 24), 10, *SMALL) == (1, 2)
    assert experts(cores(4, 24), 10, *SMALL) == (1, 4)
    assert experts(cores(4, 24), 3, *SMALL) == (1, 3)
    # Too little memory, one core, one expert, or a batch that keeps the cores busy by itself.
    assert experts(cores(4, 0.05), 10, *SMALL) == (4, 1)
    assert experts(cores(1, 24), 10, *SMALL) == (1, 1)
    assert experts(cores(2, 24), 1, *SMALL) == (2, 1)
    assert experts(cores(2, 24), 10, "network.width=512") == (2, 1)
    assert experts(replace(cores(2, 24), forks=False), 10, *SMALL) == (2, 1)
    assert experts(Machine("cuda", 16), 10, *SMALL) == (1, 1)


@pytest.mark.parametrize("gigabytes", [0.2, 0.5, 1, 4, 64])
@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("on", [1, 2, 6, 64])
def test_processes_never_exceed_cores_tasks_or_their_share_of_memory(
    gigabytes, count, on, digits_facts
):
    made = routes(digits_facts, cores(on, gigabytes), *SMALL)
    placement = made.experts(count)
    needed = made.active_bytes(made.expert_batch, 2.0, 6 + made.spec.experts.epochs)
    assert 1 <= placement.processes <= min(on, count)
    assert placement.processes == 1 or placement.processes * needed <= 0.35 * gigabytes * 1e9
    assert placement.processes * placement.route.threads <= on


@pytest.mark.parametrize(
    ("gigabytes", "kept"), [(64, ("kept", 1)), (1, ("recomputed", 1)), (0.05, ("recomputed", 8))]
)
def test_as_much_of_the_student_is_kept_as_fits(gigabytes, kept, digits_facts):
    overrides = ("matching.syn_steps=60", "synthetic.ipc=50", "network.width=128")
    route = routes(digits_facts, cores(2, gigabytes), *overrides).distill().route
    assert (route.student_graph, route.keep_every) == kept


@pytest.mark.parametrize("steps", [2, 3, 10, 60, 99])
def test_no_other_spacing_of_kept_vectors_holds_fewer(steps, digits_facts):
    """Kept are every k-th vector, and while a segment is recomputed its k vectors."""

    def held(k):
        return -(-steps // k) + k

    machine = cores(2, 1e-6)
    route = routes(digits_facts, machine, f"matching.syn_steps={steps}").distill().route
    assert held(route.keep_every) == min(held(k) for k in range(1, steps + 1))


def test_steps_on_a_gpu_are_recorded_instead_of_kept_if_they_are_small(digits_facts):
    rates = ROUND_RATES["cuda"].model_copy(update={"memory": 80 * 10**9})
    gpu = Machine("cuda", 16, rates)
    small, large = ("synthetic.ipc=1",), ("synthetic.ipc=100", "network.width=512")
    route = routes(digits_facts, gpu, *small).distill().route
    assert (route.recorded, route.student_graph) == (True, "recomputed")
    route = routes(digits_facts, gpu, *large).distill().route
    assert (route.recorded, route.student_graph) == (False, "kept")
    # TESLA's gradient has no use for graphs.
    route = routes(digits_facts, gpu, *large, "matching.gradient=tesla").distill().route
    assert route.student_graph == "recomputed"


def test_networks_are_stacked_only_if_each_uses_single_channels(digits_facts):
    def stacked(name, machine, *overrides):
        options = (f'evaluation.networks=["{name}"]', *SMALL, *overrides)
        return routes(digits_facts, machine, *options).evaluation(name, 3).route.networks

    assert stacked("convnet", cores(2, 24)) == 5
    assert stacked("convnet", cores(2, 24), "network.norm=none") == 5
    assert stacked("convnet", cores(2, 24), "network.norm=layer") == 1
    assert stacked("convnet_bn", cores(2, 24)) == 1
    assert stacked("mlp", cores(2, 24)) == 1
    # A large batch on a CPU is bound by its arithmetic, on a GPU by its launches.
    assert stacked("convnet", cores(2, 24), "synthetic.ipc=100") == 1
    assert stacked("convnet", Machine("cuda", 16), "synthetic.ipc=100") == 5


@pytest.mark.parametrize("processes", range(1, 9))
def test_processes_share_the_bandwidth_of_all_threads(processes, digits_facts):
    single = Speed(layer=1e-4, flops=1e11, bandwidth=4e9)
    rates = Rates(
        one_thread=single,
        all_threads=single.model_copy(update={"flops": 4e11, "bandwidth": 10e9}),
        base_memory=0,
        memory=0,
        measured=True,
    )
    made = routes(digits_facts, Machine("cpu", 8, rates))
    speed = made.speed(Placement(Route(device="cpu", threads=1), processes))
    assert processes * speed.bandwidth <= max(10e9, 4e9 * (processes == 1)) * (1 + 1e-12)
    assert speed.bandwidth == 4e9 if processes <= 2 else speed.bandwidth < 4e9
    assert speed.flops == single.flops
    assert made.speed(Placement(Route(device="cpu", threads=8))) == rates.all_threads


@pytest.mark.parametrize(("tasks", "processes"), [(1, 1), (7, 2), (8, 4), (9, 4), (3, 8)])
def test_rounds_are_those_of_a_queue(tasks, processes):
    left, rounds = tasks, 0
    while left > 0:
        left, rounds = left - processes, rounds + 1
    assert Placement(Route(device="cpu", threads=1), processes).rounds(tasks) == rounds


def test_unknown_memory_keeps_all_vectors_and_starts_no_process(digits_facts):
    made = routes(digits_facts, Machine("cpu", 8), *SMALL)
    assert made.experts(10).processes == 1
    assert made.distill().route.keep_every == 1
    assert made.room < inf and made.room == 0
