"""The machine and the software that a run runs on, without naming anybody's machine."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.record.record import Environment
from ddspec.dsl.terms import Device

RECORDED_PACKAGES = ("torch", "torchvision", "numpy", "h5py", "scikit-learn", "pydantic")


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def this_machine(device: Device | None = None) -> Machine:
    """The machine at hand; the GPU where there is one, unless `device` says otherwise.

    Raises MachineError where a GPU is asked for and there is none.
    """
    has_gpu = sees_gpu()
    if device == "cuda" and not has_gpu:
        raise MachineError(
            "this torch sees no CUDA device",
            hint="leave --device out, or install a torch that sees the GPU",
        )
    kind: Device = device or ("cuda" if has_gpu else "cpu")
    return Machine(kind, usable_cores(), forks=platform.system() == "Linux")


def sees_gpu() -> bool:
    """Whether torch can use a GPU.

    Importing torch takes seconds; where the driver's device files are absent nobody needs to ask.
    """
    files = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    if platform.system() == "Linux" and not any(Path(file).exists() for file in files):
        return False
    import torch

    return bool(torch.cuda.is_available())


def gpu_name() -> str:
    """Name of the GPU in use."""
    import torch

    return torch.cuda.get_device_name()


def environment(device: Device) -> Environment:
    """What the record says of where it ran."""
    return Environment(
        ddspec=installed_version("ddspec") or "unknown",
        commit=checkout_commit(),
        python=platform.python_version(),
        packages={name: found for name in RECORDED_PACKAGES if (found := installed_version(name))},
        system=f"{platform.system()} {platform.machine()}",
        device=gpu_name() if device == "cuda" else processor_name(),
        cores=usable_cores(),
    )


def installed_version(package: str) -> str | None:
    """Version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def checkout_commit() -> str | None:
    """Commit of the ddspec checkout that runs, "-dirty" where files differ; None for a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def processor_name() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
