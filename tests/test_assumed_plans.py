"""`ddspec plan --assume`: costs for a GPU that is not here, and never taken for measured ones."""

import json
from pathlib import Path

import pytest

import ddspec
from ddspec.dsl.facts.assumed_devices import PEAKS

SPECS = Path(__file__).parent.parent / "specs"
CIFAR = SPECS / "mtt" / "cifar10_ipc1.toml"


@pytest.fixture(autouse=True)
def no_look_at_this_machine(monkeypatch):
    def refuse(*_):
        raise AssertionError("this machine was looked at")

    monkeypatch.setattr("ddspec.engine.machine.environment.sees_gpu", refuse)
    monkeypatch.setattr("ddspec.engine.machine.speed_probe.measure_rates", refuse)


@pytest.mark.parametrize("options", [(), ("--device", "cuda")])
def test_plan_says_that_its_speeds_are_assumed(cli, options):
    answer = cli("plan", CIFAR, "--assume", "h100", "--data", "nowhere", *options)
    assert answer.returncode == 0
    last = answer.stdout.splitlines()[-1]
    assert " on cuda: " in last and "assumed for NVIDIA H100 SXM, not measured" in last


def test_slower_gpu_takes_longer_by_the_same_plan(cli):
    def plan(device: str) -> dict:
        options = ("--assume", device, "--data", "nowhere", "--json")
        return json.loads(cli("plan", CIFAR, *options).stdout)

    a100, h200 = plan("a100"), plan("h200")
    seconds = [sum(step["estimate"]["seconds"] for step in p["steps"]) for p in (a100, h200)]
    assert seconds[0] > seconds[1]
    assert [step["digest"] for step in a100["steps"]] == [step["digest"] for step in h200["steps"]]
    assert a100["assumed"]["device"] == "a100" and not a100["measured_rates"]
    assert a100["assumed"]["source"] == PEAKS["a100"].source


def test_sweep_says_it_too(cli):
    answer = cli("plan", SPECS / "ablation_mct_digits.toml", "--assume", "h200")
    assert answer.stdout.splitlines()[-1].startswith("speeds assumed for NVIDIA H200 SXM")


def test_memory_is_that_of_the_assumed_gpu(cli):
    wide = ("--data", "nowhere", "--set", "network.width=2048")
    answers = {name: cli("plan", CIFAR, "--assume", name, *wide) for name in ("rtx4090", "h200")}
    assert answers["rtx4090"].returncode == 5
    assert "but the GPU has 24" in answers["rtx4090"].stderr
    assert answers["h200"].returncode == 0


def test_memory_of_this_machine_does_not_count(cli, monkeypatch):
    monkeypatch.setattr("ddspec.engine.run.memory_check.memory_limit", lambda: 1000)
    assert cli("plan", CIFAR, "--assume", "h200", "--data", "nowhere").returncode == 0


@pytest.mark.parametrize("options", [("--tasks",), ("--device", "cpu")])
def test_options_that_contradict_it_are_refused(cli, options):
    answer = cli("plan", CIFAR, "--assume", "h100", *options)
    assert (answer.returncode, answer.stdout) == (2, "")


def test_unknown_gpu_is_refused_with_the_known_ones(cli):
    answer = cli("plan", CIFAR, "--assume", "h300")
    assert answer.returncode == 2
    assert all(name in answer.stderr for name in PEAKS)


def test_plan_with_an_assumed_gpu_cannot_be_run(tmp_path):
    spec = SPECS / "digits_ipc1.toml"
    compiled = ddspec.compile(spec, store=tmp_path / "store", assume="h100")
    with pytest.raises(ValueError, match="the plan assumes NVIDIA H100 SXM"):
        ddspec.run(compiled, runs=tmp_path / "runs")
    with pytest.raises(ValueError, match="not a CPU"):
        ddspec.compile(spec, store=tmp_path / "store", assume="h100", device="cpu")
    assert not (tmp_path / "runs").exists()
