"""The machine and the software of a run, described without naming anybody's machine."""

import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.record.record import Environment
from ddspec.dsl.terms import Device

RECORDED_PACKAGES = (
    *("torch", "torchvision", "numpy", "h5py", "scikit-learn", "pydantic"),
    *("matplotlib", "pillow"),
)
"""Packages whose versions stand in every record."""

OPTIONAL_PACKAGES = ("timm",)
"""Packages of extras; a record has their versions if they are installed."""

GPU_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Files of the drivers of NVIDIA, of Windows' subsystem for Linux, and of AMD."""


NVIDIA_VERSION = Path("/proc/driver/nvidia/version")
"""File in which NVIDIA's kernel driver states its version."""


PROCESSORS = Path("/proc/cpuinfo")

EXTENSIONS = re.compile(r"s?sse|avx|amx|fma|f16c|asimd|sve|sme|bf16|i8mm|fphp|vx|altivec|vsx")
"""Start of the flags of extensions for vectors and matrices, of any kind of processor."""

CHOOSING = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
"""Environment variables by which torch, oneDNN, MKL, OpenBLAS and NumPy choose their code."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not Linux.
        return os.cpu_count() or 1


def this_machine(device: Device | None = None) -> Machine:
    """Return this machine, with `device` or else with the GPU if there is one.

    Raises MachineError if `device` is "cuda" and torch sees no GPU.
    """
    has_gpu = sees_gpu()
    if device == "cuda" and not has_gpu:
        raise MachineError(
            "this torch sees no CUDA device",
            hint="leave --device out, or install a torch that sees the GPU; `ddspec plan --assume` "
            "estimates costs for a GPU that is not here",
        )
    kind: Device = device or ("cuda" if has_gpu else "cpu")
    return Machine(kind, usable_cores(), forks=platform.system() == "Linux")


def sees_gpu() -> bool:
    """Return whether torch can use a GPU.

    Importing torch takes seconds, so torch is not asked if the driver's device files are missing.
    """
    if platform.system() == "Linux" and not any(map(os.path.exists, GPU_DEVICE_FILES)):
        return False
    import torch

    return bool(torch.cuda.is_available())


def gpu_name() -> str:
    """Return the name of the GPU in use."""
    import torch

    return torch.cuda.get_device_name()


@cache
def environment(device: Device) -> Environment:
    """Return the description of this machine and its software for artifacts and records."""
    versions = {name: installed_version(name) for name in (*RECORDED_PACKAGES, *OPTIONAL_PACKAGES)}
    return Environment(
        ddspec=ddspec_version(),
        commit=checkout_commit(),
        python=platform.python_version(),
        packages={name: version for name, version in versions.items() if version},
        system=f"{platform.system()} {platform.machine()}",
        device=gpu_name() if device == "cuda" else processor_name(),
        cores=usable_cores(),
        instruction_set=instruction_set(),
        variables={name: os.environ[name][:200] for name in CHOOSING if name in os.environ},
        **(gpu_software() if device == "cuda" else {}),
    )


def gpu_software() -> dict[str, str | None]:
    """Return the versions of CUDA, cuDNN and NVIDIA's driver."""
    import torch

    cudnn = torch.backends.cudnn.version()
    return {
        "cuda": torch.version.cuda,
        "cudnn": None if cudnn is None else str(cudnn),
        "driver": driver_version(),
    }


def driver_version() -> str | None:
    """Return the version of NVIDIA's kernel driver; None if it is not known."""
    try:
        text = NVIDIA_VERSION.read_text()
    except OSError:
        return None
    numbers = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return numbers[0] if numbers else None


def ddspec_version() -> str:
    """Return the version of ddspec; "unknown" if a checkout is on the path, not installed."""
    return installed_version("ddspec") or "unknown"


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def checkout_commit() -> str | None:
    """Return the commit of the ddspec checkout that runs; None for an installed wheel.

    It ends in "-dirty" if files differ from the commit.
    """
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
    """Return the name of the processor."""
    return processor_facts().get("model name") or platform.processor() or platform.machine()


def instruction_set() -> str | None:
    """Return the processor's extensions for vectors and matrices, sorted; None if not known.

    Processors of one name may differ in them, above all those of virtual machines.
    """
    facts = processor_facts()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return " ".join(sorted({flag for flag in flags if EXTENSIONS.match(flag)})) or None


def processor_facts() -> dict[str, str]:
    """Return what Linux says of the first processor, by name; nothing on other systems."""
    try:
        first = PROCESSORS.read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
