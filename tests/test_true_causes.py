"""Messages name the true cause: each is paired with at least two causes that lead to it."""

from pathlib import Path

import pytest

SPEC = """ddspec = 1
name = "a"
[dataset]
name = "folder"
root = "mine"
[synthetic]
ipc = 1
"""

CAUSES = {
    "string for a number": ("--set matching.syn_steps=abc", "must be a whole number", "quotes"),
    "number in quotes": ('--set matching.syn_steps="5"', "write numbers without quotes", "abc"),
    "decimal that is whole": ("--set matching.syn_steps=100.0", "write 100", "quotes"),
    "decimal": ("--set matching.syn_steps=1.5", "is a decimal number", "write 1"),
    "name in capitals": ("--set dataset.name=CIFAR10", 'did you mean "cifar10"?', 'cifar100"?'),
    "misspelt name": (
        "--set dataset.name=tinyimagenet",
        'did you mean "tiny_imagenet"?',
        'folder"?',
    ),
    "root with a slash": ("--set dataset.root=mine/", "ends with a slash", "not a path below"),
    "root outside": ("--set dataset.root=../mine", "is not a path below", "ends with a slash"),
    "absolute root": ("--set dataset.root=/data/mine", "is an absolute path", "ends with a slash"),
    "root with brackets": (
        "--set dataset.root=mri(2)",
        "not allowed in a folder name",
        "below the",
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_faults_of_values_are_told_apart(cli, tmp_path: Path, cause: str):
    option, words, others = CAUSES[cause]
    (tmp_path / "spec.toml").write_text(SPEC)
    answer = cli("check", tmp_path / "spec.toml", *option.split())
    assert answer.returncode == 3
    text = answer.stdout + answer.stderr
    assert words in text
    assert others not in text


def test_missing_table_names_the_keys_that_it_needs(cli, tmp_path: Path):
    (tmp_path / "spec.toml").write_text(SPEC.partition("[synthetic]")[0])
    text = cli("check", tmp_path / "spec.toml").stdout
    assert "add [synthetic] with ipc = ..." in text


def test_missing_folder_and_missing_record_are_told_apart(cli, tmp_path: Path):
    (tmp_path / "runs" / "digits-0123").mkdir(parents=True)
    for command in ("report", "verify"):
        misspelt = cli(command, tmp_path / "runs" / "digit-0123")
        assert misspelt.returncode == 5
        assert "there is no folder" in misspelt.stderr
        assert "did you mean" in misspelt.stderr and "digits-0123" in misspelt.stderr
        unfinished = cli(command, tmp_path / "runs" / "digits-0123")
        assert unfinished.returncode == 5
        assert "has no record.json" in unfinished.stderr
        assert "there is no folder" not in unfinished.stderr


def test_one_run_is_too_few_to_compare(cli, tmp_path: Path):
    answer = cli("compare", tmp_path)
    assert answer.returncode == 2
    assert "only one run was named" in answer.stderr
