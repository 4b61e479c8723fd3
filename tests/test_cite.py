"""`ddspec cite`, and how ddspec itself is cited."""

import re
import tomllib
from pathlib import Path

import ddspec

ROOT = Path(__file__).parent.parent


def entry_keys(text):
    return re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)


def test_cite_prints_the_entries_of_a_spec(cli, smoke):
    answer = cli("cite", smoke)
    assert answer.returncode == 0, answer.stderr
    keys = ["cazenavette2022mtt", "zhao2021dsa", "alpaydin1998digits", "ddspec"]
    assert entry_keys(answer.stdout) == keys


def test_cite_takes_options_into_account(cli, smoke):
    answer = cli("cite", smoke, "--set", 'trajectory="convex"')
    assert "zhong2024mct" in entry_keys(answer.stdout)


def test_run_is_cited_with_its_options(cli, tmp_path, smoke):
    folder = tmp_path / "runs" / "smoke-1"
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(smoke.read_text())
    (folder / "resolved.toml").write_text(smoke.read_text() + '\n[trajectory]\ntype = "convex"\n')
    assert "zhong2024mct" in entry_keys(cli("cite", folder).stdout)


def test_cite_of_a_missing_spec_is_an_error_in_words(cli):
    answer = cli("cite", "missing.toml")
    assert answer.returncode == 3
    assert "unreadable-spec" in answer.stderr


def test_citation_file_has_the_version_and_licence_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {project['version']}" in lines
    assert f"license: {project['license']}" in lines
    assert f"title: {project['name']}" in lines
    assert f'  - name: "{project["authors"][0]["name"]}"' in lines


def test_package_and_command_say_the_same_version(cli):
    assert cli("--version").stdout == f"ddspec {ddspec.__version__}\n"
