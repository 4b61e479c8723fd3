"""Who may import whom; what must not stand in the tree."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NUMERICS = (
    "seeds networks layers stack augment descent unroll matching convex "
    "smoothing sharpness slopes start coresets whitening architectures protocols replay".split()
)
STAGES = "data experts convexify trajectories path initialise distill update state evaluate".split()
RUN = "run work survey harvest scores environment keepsakes rates probe inspection again export tensors imports upkeep doctor".split()
KEEPING = "store artifacts raw sources image_files pictures ingest bench control workers memory claims".split()


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports while it is imported or when its functions run."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def touches(path: Path, *modules: str) -> set[str]:
    return {
        name
        for name in imports_of(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


@pytest.mark.parametrize("path", files("dsl"), ids=lambda path: path.name)
def test_language_needs_no_torch_and_nobody_else(path):
    assert not touches(path, "torch", "torchvision", "h5py", "ddspec.engine", "ddspec.reports")


@pytest.mark.parametrize("path", files("reports"), ids=lambda path: path.name)
def test_reports_need_no_torch_and_no_engine(path):
    assert not touches(path, "torch", "torchvision", "h5py", "ddspec.engine", "ddspec.api")


@pytest.mark.parametrize("path", files("engine"), ids=lambda path: path.name)
def test_engine_never_sees_toml_or_pages(path):
    assert not touches(
        path,
        "tomli",
        "tomllib",
        "tomli_w",
        "ddspec.dsl.parsing.source",
        "ddspec.dsl.parsing.loader",
        "ddspec.reports",
    )


@pytest.mark.parametrize("name", NUMERICS)
def test_numerics_import_no_stage_and_no_store(name):
    outer = [f"ddspec.engine.{other}" for other in (*STAGES, *RUN, *KEEPING)]
    assert not touches(ROOT / "engine" / f"{name}.py", *outer, "h5py", "pathlib")


@pytest.mark.parametrize("name", STAGES)
def test_stages_import_nothing_of_the_run_ring(name):
    outer = [f"ddspec.engine.{other}" for other in RUN]
    assert not touches(ROOT / "engine" / f"{name}.py", *outer)


def test_every_package_is_in_the_wheel():
    import tomli

    listed = set(
        tomli.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    there = {
        "ddspec." + str(path.parent.relative_to(ROOT)).replace("/", ".")
        for folder in ("dsl", "engine", "reports")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert there <= listed


def test_checking_a_spec_imports_no_torch():
    code = (
        "import sys; from ddspec.dsl.parsing.loader import load_spec; from pathlib import Path;"
        f"load_spec(Path({str(ROOT / 'specs' / 'digits_ipc1.toml')!r}));"
        "import ddspec.cli.main; assert not {'torch', 'h5py', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_language_package_is_empty_at_its_top():
    for folder in ("dsl", "engine"):
        assert (ROOT / folder / "__init__.py").read_text() == ""


def test_every_file_of_the_engine_has_its_ring():
    assert sorted([*NUMERICS, *STAGES, *RUN, *KEEPING]) == [
        path.stem for path in files("engine") if path.stem != "__init__"
    ]
