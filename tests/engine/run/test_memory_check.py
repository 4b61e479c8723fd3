"""A plan that cannot fit this machine is refused before any work, with the keys to change."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import load_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.engine.run import memory_check
from ddspec.engine.run.memory_check import check_memory
from ddspec.engine.run.status import StepState, step_states
from ddspec.engine.store.store import Store

SMOKE = Path(__file__).parents[2] / "smoke.toml"
GB = 10**9


def states_of(tmp_path: Path, *overrides: str) -> list[StepState]:
    """States of a plan for images of a size that nobody needs to store."""
    spec = load_spec(SMOKE, overrides).spec
    facts = KNOWN["digits"].model_copy(update={"height": 256, "width": 256, "channels": 3})
    facts = facts.model_copy(
        update={"mean": facts.mean * 3, "std": facts.std * 3, "fingerprint": "f"}
    )
    return step_states(compile_spec(spec, facts, Machine("cpu", 2)), Store(tmp_path))


@pytest.fixture
def machine(monkeypatch) -> None:
    monkeypatch.setattr(memory_check, "memory_limit", lambda: 25 * GB)
    monkeypatch.setattr(memory_check, "total_memory", lambda: 25 * GB)


def test_whitening_larger_than_the_machine_is_refused(tmp_path, machine):
    check_memory(states_of(tmp_path))
    with pytest.raises(MachineError, match=r"dataset needs about 9\d\d GB .* has 25 GB") as error:
        check_memory(states_of(tmp_path, "dataset.zca=true"))
    assert "dataset.zca = false" in error.value.hint
    assert "dataset.resolution" in error.value.hint


@pytest.mark.parametrize(
    ("limit", "step", "keys"),
    [
        (0.3, "dataset", "dataset.images_per_class"),
        (2, "evaluate-convnet", "evaluation.batch_size"),
        (2, "experts", "experts.batch_size"),
        (2, "distill", "matching.syn_steps"),
    ],
)
def test_each_step_names_its_keys(tmp_path, monkeypatch, limit, step, keys):
    states = states_of(tmp_path)
    monkeypatch.setattr(memory_check, "total_memory", lambda: limit * GB)
    monkeypatch.setattr(memory_check, "memory_limit", lambda: limit * GB)
    (state,) = [state for state in states if state.step.id == step]
    if step != "dataset":
        estimate = state.step.estimate.model_copy(update={"memory_bytes": 100 * GB})
        large = state.step.model_copy(update={"estimate": estimate})
        states = [states[0], replace(state, step=large)]
    with pytest.raises(MachineError, match=f"the step {step} needs") as error:
        check_memory(states)
    assert keys in error.value.hint


def test_only_what_is_left_to_do_must_fit(tmp_path, machine):
    states = states_of(tmp_path, "dataset.zca=true")
    check_memory([replace(state, artifacts=()) for state in states])


def test_estimates_near_the_memory_are_not_refused(tmp_path, monkeypatch):
    states = states_of(tmp_path, "dataset.zca=true")
    needed = states[0].step.estimate.memory_bytes
    for share, refused in ((0.7, False), (0.6, True)):
        monkeypatch.setattr(memory_check, "memory_limit", lambda share=share: share * needed)
        if refused:
            with pytest.raises(MachineError, match="the step dataset needs"):
                check_memory(states)
        else:
            check_memory(states)


def test_plan_and_run_end_before_any_work(cli, tmp_path, machine):
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / "mine" / split / name
            folder.mkdir(parents=True)
            Image.linear_gradient("L").convert("RGB").save(folder / "0.png")
    options = [SMOKE, "--set", "dataset={name='folder', root='mine', zca=true}", "--data", "data"]
    for command in ("plan", "run"):
        answer = cli(command, *options, "--store", "store")
        assert answer.returncode == 5
        assert re.search(r"error: the step dataset needs about 9\d\d GB of memory", answer.stderr)
        assert "dataset.zca = false" in answer.stderr
        assert bool(re.search(r"9\d\d GB", answer.stdout)) == (command == "plan")
    assert not (tmp_path / "runs").exists()
    assert cli("plan", *options, "--store", "store", "--tasks").returncode == 0
