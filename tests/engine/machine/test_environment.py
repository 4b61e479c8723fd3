"""The environment in a record: versions, device and commit, and nobody's names."""

import getpass
import platform

import pytest

from ddspec.dsl.diagnostics import MachineError
from ddspec.engine.machine import environment as module
from ddspec.engine.machine.environment import (
    RECORDED_PACKAGES,
    driver_version,
    environment,
    installed_version,
    this_machine,
    usable_cores,
)


def test_environment_names_versions_but_neither_host_nor_user():
    text = environment("cpu").model_dump_json()
    assert set(environment("cpu").packages) == set(RECORDED_PACKAGES)
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
