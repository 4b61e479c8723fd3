"""Which folder may import which; which libraries each folder never imports.

A new file needs no line here: it follows the rules of the folder that it lies in.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_MODULES = 12
MOST_LINES = 400
MOST_FUNCTION_LINES = 60

GROUND = ("dsl",)
LANGUAGE = (*GROUND, "dsl.keys", "dsl.spec.objectives", "dsl.spec", "dsl.facts")
DOCUMENTS = (*LANGUAGE, "dsl.extensions", "dsl.plan", "dsl.record")
NUMERICS = ("engine.numerics", "engine.networks", "engine.training", "engine.matching")
KEEPING = ("engine", "engine.store", "engine.images", "engine.machine")
DSL = (*DOCUMENTS, "dsl.rules", "dsl.parsing", "dsl.reference")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "dsl": (),
    "dsl.keys": GROUND,
    "dsl.spec.objectives": (*GROUND, "dsl.keys"),
    "dsl.spec": (*GROUND, "dsl.keys", "dsl.spec.objectives"),
    "dsl.facts": (*GROUND, "dsl.keys", "dsl.spec"),
    "dsl.rules": LANGUAGE,
    "dsl.extensions": LANGUAGE,
    "dsl.parsing": (*LANGUAGE, "dsl.rules", "dsl.extensions"),
    "dsl.reference": (*LANGUAGE, "dsl.rules", "dsl.parsing", "dsl.extensions"),
    "dsl.plan": LANGUAGE,
    "dsl.record": (*LANGUAGE, "dsl.plan"),
    "engine": DOCUMENTS,
    "engine.numerics": DOCUMENTS,
    "engine.networks": (*DOCUMENTS, "engine.numerics"),
    "engine.training": (*DOCUMENTS, "engine.numerics", "engine.networks"),
    "engine.matching": (*DOCUMENTS, "engine.numerics"),
    "engine.store": (*DOCUMENTS, "engine", "engine.numerics"),
    "engine.images": (*DOCUMENTS, "engine.numerics", "engine.store", "engine.machine"),
    "engine.images.tables": (*DOCUMENTS, "engine.images"),
    "engine.images.shards": (*DOCUMENTS, "engine.images"),
    "engine.images.sources": (
        *DOCUMENTS,
        "engine.images",
        "engine.images.tables",
        "engine.images.shards",
        "engine.numerics",
        "engine.store",
        "engine.machine",
    ),
    "engine.machine": (*DOCUMENTS, *NUMERICS, "engine", "engine.store"),
    "engine.stages": (*DOCUMENTS, *NUMERICS, *KEEPING),
    "engine.stages.objectives": (*DOCUMENTS, *NUMERICS, *KEEPING, "engine.stages"),
    "engine.exchange": (*DOCUMENTS, *NUMERICS, *KEEPING),
    "engine.tasks": (
        *DOCUMENTS,
        *NUMERICS,
        *KEEPING,
        "engine.stages",
        "engine.stages.objectives",
    ),
    "engine.run": (
        *DOCUMENTS,
        *NUMERICS,
        *KEEPING,
        "engine.stages",
        "engine.tasks",
        "engine.exchange",
    ),
    "engine.maintenance": (*DOCUMENTS, *KEEPING, "engine.images.sources"),
    "reports": DSL,
    "reports.tables": (*DSL, "reports"),
    "reports.figures": (*DSL, "reports", "reports.tables"),
    "reports.pages": (*DSL, "reports", "reports.tables", "reports.figures"),
}
"""Folder -> the other folders of the project that its modules may import."""

NEVER: dict[str, set[str]] = {
    "dsl": {"torch", "torchvision", "h5py", "matplotlib", "sklearn"},
    "engine": {"tomli", "tomllib", "tomli_w", "jinja2", "matplotlib", "typer"},
    "reports": {"torch", "torchvision", "h5py", "sklearn", "typer"},
    "engine.numerics": {"h5py", "pathlib"},
    "engine.networks": {"h5py", "pathlib"},
    "engine.training": {"h5py", "pathlib"},
    "engine.matching": {"h5py", "pathlib"},
}
"""Folder (with all below it) -> libraries that it never imports."""

FILES = [
    path
    for top in ("dsl", "engine", "reports")
    for path in sorted((ROOT / top).rglob("*.py"))
    if path.name != "__init__.py"
]
COMMAND_FOLDERS = ("cli", "cli.progress", "cli.texts", "functions", "trackers", "verification")
COMMANDS = [
    path
    for folder in ("ddspec", *(f"ddspec/{name.replace('.', '/')}" for name in COMMAND_FOLDERS))
    for path in (ROOT / folder).glob("*.py")
]
OTHER_FOLDERS = ("ddspec", *(f"ddspec.{name}" for name in COMMAND_FOLDERS), "docs.generate")
GENERATOR = sorted((ROOT / "docs" / "generate").glob("*.py"))


def folder_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def imports_of(path: Path) -> set[str]:
    """Names of modules that a file imports, at its top or inside its functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def folders_imported(path: Path) -> set[str]:
    """The project's folders that a file imports from."""
    modules = {"ddspec." + folder_of(other) + "." + other.stem: other for other in FILES}
    return {folder_of(modules[name]) for name in imports_of(path) if name in modules}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=label)
def test_module_imports_only_folders_below_its_own(path):
    folder = folder_of(path)
    assert folders_imported(path) - {folder} <= set(MAY_IMPORT[folder])


@pytest.mark.parametrize("path", FILES, ids=label)
def test_module_never_imports_libraries_of_another_layer(path):
    libraries = {name.partition(".")[0] for name in imports_of(path)}
    for folder, forbidden in NEVER.items():
        if f"{folder_of(path)}.".startswith(f"{folder}."):
            assert not libraries & forbidden


@pytest.mark.parametrize("path", FILES, ids=label)
def test_language_engine_and_reports_do_not_know_the_commands(path):
    commands = {f"ddspec.{module}" for module in ("api", "cli", "sweeps", "reproduction")}
    assert not {name for name in imports_of(path) if name in commands}


@pytest.mark.parametrize(
    "path", sorted(p for p in COMMANDS if "cli" not in p.parts and p.stem[0] != "_"), ids=label
)
def test_python_interface_does_not_import_the_command_line(path):
    assert not {name for name in imports_of(path) if name.startswith("ddspec.cli")}


def test_table_of_imports_has_no_circle():
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {f for f, others in MAY_IMPORT.items() if f not in done and set(others) <= done}
        assert ready, f"a circle among {set(MAY_IMPORT) - done}"
        done |= ready


def test_table_of_imports_has_every_folder_and_no_other():
    assert {folder_of(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", [*MAY_IMPORT, *OTHER_FOLDERS])
def test_folder_holds_at_most_twelve_modules(folder):
    modules = [p for p in ROOT.joinpath(*folder.split(".")).glob("*.py") if p.stem != "__init__"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("path", [*FILES, *COMMANDS, *GENERATOR], ids=label)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno + 1 <= MOST_FUNCTION_LINES, node.name


def test_every_package_is_in_the_wheel():
    """setup.py lists what find_packages sees, which must be every folder with modules."""
    code = (
        "import runpy, setuptools, json;"
        "setuptools.setup = lambda **keywords: print(json.dumps(keywords['packages']));"
        "runpy.run_path('setup.py')"
    )
    import json

    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    packages = set(json.loads(answer.stdout.splitlines()[-1]))
    for path in [*FILES, *COMMANDS]:
        folder = folder_of(path)
        assert (folder if folder.startswith("ddspec") else f"ddspec.{folder}") in packages
    assert {"ddspec.specs", "ddspec.reports.templates"} <= packages


def test_checking_a_spec_imports_no_torch():
    heavy = {"torch", "h5py", "sklearn", "matplotlib"}
    code = (
        "import sys; from ddspec.dsl.parsing.loader import load_spec; from pathlib import Path;"
        f"load_spec(Path({str(ROOT / 'specs' / 'digits_ipc1.toml')!r}));"
        f"import ddspec.cli.main; assert not {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_results_from_a_store_imports_no_torch():
    """A run that is done says its results at once; torch alone takes seconds to import."""
    script = "import sys, ddspec.engine.run.collect, ddspec.engine.run.results; "
    script += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_packages_of_language_and_engine_are_empty_at_their_top():
    for folder in MAY_IMPORT:
        assert (ROOT.joinpath(*folder.split(".")) / "__init__.py").read_text() == ""
