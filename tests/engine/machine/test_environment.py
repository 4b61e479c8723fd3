"""The environment in a record: versions, device and commit, and nobody's names."""

import getpass
import platform

import pytest
import torch

from ddspec.dsl.diagnostics import MachineError
from ddspec.engine.machine import environment as module
from ddspec.engine.machine.environment import (
    CHOOSING,
    OPTIONAL_PACKAGES,
    RECORDED_PACKAGES,
    driver_version,
    environment,
    installed_version,
    instruction_set,
    processor_name,
    this_machine,
    usable_cores,
)


def test_environment_names_versions_but_neither_host_nor_user():
    text = environment("cpu").model_dump_json()
    named = set(environment("cpu").packages)
    assert set(RECORDED_PACKAGES) <= named <= {*RECORDED_PACKAGES, *OPTIONAL_PACKAGES}
    assert f'"{platform.node()}"' not in text
    assert f'"{getpass.getuser()}"' not in text


def test_driver_states_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NVIDIA_VERSION", tmp_path / "version")
    assert driver_version() is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\n"
        "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2)\n"
    )
    assert driver_version() == "580.159.04"


def test_instruction_set_is_that_of_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROCESSORS", tmp_path / "cpuinfo")
    assert instruction_set() is None
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: X 1\nflags\t\t: fpu sse2 ssse3 fma avx2 avx avx512_bf16 md_clear\n"
        "\nprocessor\t: 1\nmodel name\t: Y 2\nflags\t\t: fpu\n"
    )
    assert instruction_set() == "avx avx2 avx512_bf16 fma sse2 ssse3"
    assert processor_name() == "X 1"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd sve i8mm\n")
    assert instruction_set() == "asimd i8mm sve"


def test_torch_has_the_instruction_set_that_the_environment_names():
    capability = torch.backends.cpu.get_cpu_capability()
    extensions = (environment("cpu").instruction_set or "").split()
    if "AVX512" in capability and platform.system() == "Linux":
        assert {"avx512f", "avx512bw"} <= set(extensions)
    elif "AVX2" in capability and platform.system() == "Linux":
        assert "avx2" in extensions


@pytest.mark.parametrize("name", CHOOSING)
def test_variables_that_choose_instructions_are_named(monkeypatch, name):
    for other in CHOOSING:
        monkeypatch.delenv(other, raising=False)
    assert environment.__wrapped__("cpu").variables == {}
    monkeypatch.setenv(name, "default")
    assert environment.__wrapped__("cpu").variables == {name: "default"}


def test_missing_package_has_no_version():
    assert installed_version("no-such-package") is None
    assert installed_version("numpy")


def test_gpu_is_used_if_there_is_one_unless_the_cpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "sees_gpu", lambda: True)
    assert this_machine().device == "cuda"
    assert this_machine("cpu").device == "cpu"
    monkeypatch.setattr(module, "sees_gpu", lambda: False)
    assert this_machine().device == "cpu"
    assert this_machine().cores == usable_cores()
    with pytest.raises(MachineError, match="no CUDA device"):
        this_machine("cuda")
