"""The documentation: its reference is complete, its links lead somewhere, its examples run."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from markdown_it import MarkdownIt

import ddspec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record import file_names
from ddspec.dsl.record.record import Record
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.spec.catalogue import catalogue
from ddspec.dsl.terms import ExportForm
from ddspec.shipped import shipped
from docs.generate.pages import reference_pages, write_pages
from docs.generate.prose import prose
from tests.page_examples import ROOT, examples_in, run_examples

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    if not path.is_relative_to(REFERENCE) and not path.is_relative_to(DOCS / "_build")
)


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return reference_pages()


def section(text: str, anchor: str) -> str:
    """The part of a page from an anchor to the next one."""
    assert text.count(f"({anchor})=\n") == 1, anchor
    return re.split(r"^\(.*\)=$", text.partition(f"({anchor})=\n")[2], flags=re.MULTILINE)[0]


def test_reference_has_every_key_with_its_meaning_and_its_source(reference):
    for path, key in catalogue().items():
        page = (path if key.is_table else key.table).partition(".")[0] or "top_level"
        text = section(reference[f"keys/{page}.md"], f"key.{path}")
        assert prose(key.meaning) in text
        assert key.source in text
        assert (":Takes:" in text) == (not key.is_table)
        assert all(f'`"{choice}"`' in text for choice in key.choices if path != "ddspec")


def test_reference_has_every_code_with_its_explanation(reference):
    for code, explanation in CODES.items():
        assert prose(explanation) in section(reference["codes.md"], f"code.{code}")


def commands_in(help_text: str) -> list[str]:
    _, _, listed = help_text.partition("\nCommands:\n")
    return re.findall(r"^  (\w+)", listed.partition("\n\n")[0], re.MULTILINE)


def test_reference_has_every_command_with_all_its_options(reference, cli):
    top = commands_in(cli("--help").stdout)
    inner = commands_in(cli("store", "--help").stdout)
    assert "run" in top and "gc" in inner
    for words in [*((name,) for name in top if name != "store"), *(("store", n) for n in inner)]:
        text = section(reference["commands.md"], f"command.{'.'.join(words)}")
        options = set(re.findall(r"--[a-z][a-z-]*", cli(*words, "--help").stdout)) - {"--help"}
        assert {option for option in options if option not in text} == set()


def test_reference_has_every_exit_code(reference):
    text = section(reference["commands.md"], "exit.codes")
    guide = (DOCS / "guides" / "commands.md").read_text()
    codes = re.findall(r"^\| (\d[\d, ]*) \|", guide, re.MULTILINE)
    assert len(codes) == 8
    assert all(f"| {code} |" in text for code in codes)


def test_reference_has_every_field_of_plan_and_record(reference):
    for model, page in ((Plan, "plan"), (Record, "record")):
        text = section(reference[f"formats/{page}.md"], f"model.{model.__name__}")
        assert all(f"| `{field}` |" in text for field in model.model_fields)


def test_reference_has_every_file_of_a_run_folder(reference):
    names = [value for name, value in vars(file_names).items() if isinstance(value, str)]
    files = [name for name in names if re.fullmatch(r"[a-z_]+(\.[a-z0-9]+)?", name)]
    text = reference["formats/run_folder.md"].replace("\\", "")
    assert len(files) >= 12
    assert all(name in text for name in files)


def test_reference_has_every_array_and_attribute_of_a_synthetic_set(reference):
    text = reference["formats/synthetic.md"].replace("\\", "")
    with h5py.File(ROOT / "tests" / "golden" / "0.1.0" / "smoke" / "synthetic.h5") as file:
        assert all(re.search(rf"\b{name}\b", text) for name in [*file, *file.attrs])


def test_reference_has_every_form_of_an_export(reference):
    for form in ExportForm.__args__:
        assert f"| {form} |" in reference["formats/exports.md"]


def test_reference_has_every_shipped_spec_and_every_reproduction(reference):
    text = reference["specs.md"]
    assert all(f"specs/{name}.toml" in text for name in shipped())
    for line in (ROOT / "reproductions" / "README.md").read_text().splitlines():
        if line.startswith("| ["):
            folder = re.search(r"\]\((.*?/report\.html)\)", line)[1]
            assert f"reproductions/{folder}" in text


def test_reference_has_every_name_of_the_python_api(reference):
    for name in set(ddspec.__all__) - {"__version__"}:
        exported = getattr(ddspec, name)
        first, _, _ = (inspect.getdoc(exported) or "").partition("\n\n")
        kind = "class" if inspect.isclass(exported) else "function"
        assert prose(first) in section(reference["python.md"], f"{kind}.{name}")


def test_page_that_is_no_longer_made_is_deleted(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "gone.md").write_text("# gone\n")
    write_pages(tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert written == set(reference_pages())


def targets_of(text: str) -> list[str]:
    """The targets of all links and pictures of a page that have no scheme."""
    tokens = [inner for token in MarkdownIt().parse(text) for inner in token.children or ()]
    targets = [token.attrs.get("href", token.attrs.get("src", "")) for token in tokens]
    return [target for target in map(str, targets) if not re.match(r"[a-z]+:|#|$", target)]


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_relative_links_lead_to_files(path, reference):
    generated = {REFERENCE / name for name in reference} if path.is_relative_to(DOCS) else set()
    for target in targets_of(path.read_text()):
        file = (path.parent / target.partition("#")[0]).resolve()
        assert file in generated or (file.exists() and not file.is_relative_to(REFERENCE)), target


def test_links_are_seen():
    text = "[a](x.md#b) ![c](d.png) [e](https://f.g) [h](#i) `[j](k)`"
    assert targets_of(text) == ["x.md#b", "d.png"]


WITH_EXAMPLES = [path for path in PAGES if list(examples_in(path.read_text()))]


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=label)
def test_examples_of_a_page_run(path, tmp_path):
    run_examples(path.read_text(), tmp_path)


def page_of(*blocks: tuple[str, str]) -> str:
    return "\n".join(f"<!-- {comment} -->\n```\n{text}\n```\n" for comment, text in blocks)


def test_example_sees_the_files_and_the_specs_of_its_page(tmp_path, monkeypatch):
    monkeypatch.setenv("DDSPEC_STORE", "elsewhere")
    text = page_of(
        ("file: a/b.txt", "one\ntwo"),
        ("run", "cat a/b.txt; ls specs/digits_ipc1.toml; echo gone >&2; type ddspec"),
        ("output", "one\n  ...gits_ipc1.t...\ngone\nddspec is .../ddspec"),
        ("run: fails", "false\ntrue"),
        ("python", "import os; print(sorted(n for n in os.environ if n.startswith('DDSPEC_')))"),
        ("output", "[]"),
    )
    run_examples(text, tmp_path)
    assert (tmp_path / "a" / "b.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    "blocks",
    [
        [("run", "false\ntrue")],
        [("run: fails", "true")],
        [("python", "raise SystemExit(1)")],
        [("run", "echo one"), ("output", "two")],
        [("run", "echo one; echo two"), ("output", "one...two")],
        [("output", "one")],
        [("file: ../x", "out of the folder")],
    ],
    ids=str,
)
def test_wrong_example_is_a_failure(blocks, tmp_path):
    with pytest.raises(AssertionError, match=r"line [16]\b"):
        run_examples(page_of(*blocks), tmp_path)


@pytest.mark.parametrize("text", ["<!-- runs -->\n```\ntrue\n```", "<!-- run -->\n\nNo block."])
def test_comment_that_cannot_be_followed_is_refused(text):
    with pytest.raises(ValueError, match="line 1"):
        list(examples_in(text))


@pytest.mark.slow
def test_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
    built = subprocess.run(
        [*command, str(DOCS), str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "reference" / "keys" / "matching.html").exists()
    loaded = re.compile(r"(?:<(?:script|img|iframe)[^>]*\ssrc|<link[^>]*\shref)=\"(?:https?:)?//")
    for path in tmp_path.rglob("*.html"):
        if "_downloads" not in path.parts:
            assert not loaded.search(path.read_text()), path
    for path in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", path.read_text()), path
