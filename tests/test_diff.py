"""`ddspec diff`: settings by resolved value, steps by digest, results by Welch's test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ddspec.differences import compare_experiments
from ddspec.dsl.record.statistics import welch
from tests.reports.invented import invented_record, write_run_folder

SPECS = Path(__file__).parent.parent / "specs"
DIGITS = SPECS / "digits_ipc1.toml"
OLD_RUN = Path(__file__).parent / "golden" / "0.1.0" / "smoke"


def run_folder(runs: Path, *overrides: str) -> Path:
    return write_run_folder(runs, invented_record(DIGITS.read_text(), overrides), {})


def with_result(folder: Path, values: tuple[float, ...]) -> Path:
    """Change the result of an invented run on its only network."""
    record = json.loads((folder / "record.json").read_text())
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    changed = {"values": values, "mean": mean, "std": std, "n": len(values)}
    record["results"]["accuracy"] |= changed
    record["results"]["per_network"]["convnet"] |= changed
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def states(answer) -> dict[str, str]:
    return {step["id"]: step["state"] for step in json.loads(answer.stdout)["steps"]}


def test_default_written_out_and_comments_are_no_difference(cli, tmp_path):
    text = DIGITS.read_text()
    assert "deterministic = true\n" in text
    other = tmp_path / "other.toml"
    other.write_text(text.replace("deterministic = true\n", "# a comment\n") + "\n")
    answer = cli("diff", DIGITS, other)
    assert answer.returncode == 0
    first, *rest = answer.stdout.splitlines()
    assert first == "no setting differs; 7 of 7 steps would be shared"
    assert rest[:2] == [f"A  {DIGITS}", f"B  {other}"]


def test_settings_have_both_values_and_steps_the_keys_because_of_which_they_differ(cli, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(DIGITS.read_text().replace("syn_steps = 10", "syn_steps = 11"))
    answer = cli("diff", DIGITS, other)
    assert answer.stdout.startswith("1 setting differs; 5 of 7 steps would be shared\n")
    assert "\nmatching.syn_steps: 10 -> 11\n" in answer.stdout
    found = json.loads(cli("diff", DIGITS, other, "--json").stdout)
    assert found["settings"] == [{"key": "matching.syn_steps", "first": 10, "second": 11}]
    differing = {step["id"]: step["keys"] for step in found["steps"] if step["state"] == "differs"}
    assert differing == {
        "distill": ["matching.syn_steps"],
        "evaluate-convnet": ["matching.syn_steps"],
    }


def test_more_experts_share_those_that_are_there(cli, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(DIGITS.read_text().replace("count = 8", "count = 9"))
    assert states(cli("diff", DIGITS, other, "--json"))["experts"] == "shared in part"


def test_spec_has_the_images_of_the_run_that_it_is_compared_with(cli, tmp_path):
    folder = run_folder(tmp_path)
    answer = cli("diff", DIGITS, folder, "--json")
    assert set(states(answer).values()) == {"shared"}
    assert states(cli("diff", folder / "record.json", folder, "--json")) == states(answer)


def test_other_dataset_shares_nothing(cli, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(DIGITS.read_text().replace('"digits"', '"mnist"'))
    assert set(states(cli("diff", DIGITS, other, "--json")).values()) == {"differs"}


def test_images_that_must_be_read_leave_the_steps_out(cli, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'ddspec = 1\nname = "mine"\n[dataset]\nname = "folder"\nroot = "pets"\n[synthetic]\nipc = 1\n'
    )
    answer = cli("diff", mine, DIGITS)
    assert answer.returncode == 0
    assert "the plans cannot be compared" in answer.stdout.splitlines()[0]
    assert (
        "steps not compared: the images of pets are not known before they are read" in answer.stdout
    )


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ((80.0, 81.0, 82.0), (80.5, 81.0, 82.5), "the results are not told apart"),
        ((80.0, 81.0, 82.0), (90.0, 91.0, 92.0), "B is better by 10.00 +- 2.27 points on convnet"),
        ((90.0, 91.0, 92.0), (80.0, 81.0, 82.0), "A is better by 10.00 +- 2.27 points on convnet"),
        ((80.0, 81.0, 82.0), (80.0, 81.0, 82.0), "the results are equal"),
        ((80.0,), (90.0,), "too few networks to tell the results apart"),
    ],
)
def test_results_are_tested(cli, tmp_path, first, second, sentence):
    one = with_result(run_folder(tmp_path), first)
    other = with_result(run_folder(tmp_path, "seed=1"), second)
    answer = cli("diff", one, other)
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[0] == f"1 setting differs; {sentence}"


def test_interval_of_the_difference_is_that_of_welch(tmp_path):
    one = with_result(run_folder(tmp_path), (80.0, 81.0, 82.0))
    other = with_result(run_folder(tmp_path, "seed=1"), (82.0, 83.5, 84.0))
    (row,) = compare_experiments(one, other).accuracies
    assert row.test == welch(row.second, row.first)
    assert row.test.difference == pytest.approx(82.0 + 7 / 6 - 81.0)


def test_runs_that_are_not_judged_alike_are_not_tested(cli, tmp_path):
    one, other = run_folder(tmp_path), run_folder(tmp_path, "evaluation.epochs=7")
    answer = cli("diff", one, other)
    assert answer.stdout.splitlines()[0] == "1 setting differs; the results are not judged alike"
    assert answer.stdout.splitlines()[-1].startswith("not judged alike: epochs: ")
    assert json.loads(cli("diff", one, other, "--json").stdout)["accuracies"][0]["test"] is None


def test_run_of_an_older_version_differs_in_no_key_that_it_did_not_know(cli, smoke):
    settings = json.loads(cli("diff", OLD_RUN, smoke, "--json").stdout)["settings"]
    assert all(setting["first"] is not None for setting in settings), settings


def test_spec_that_does_not_fit_the_images_is_refused(cli, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(DIGITS.read_text().replace("ipc = 1\n", "ipc = 1000\n"))
    answer = cli("diff", DIGITS, other)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "error[" in answer.stderr


def test_record_that_contradicts_itself_is_refused(cli, tmp_path):
    folder = run_folder(tmp_path)
    record = json.loads((folder / "record.json").read_text())
    record["plan"]["steps"] = [s for s in record["plan"]["steps"] if s["kind"] != "evaluate"]
    (folder / "record.json").write_text(json.dumps(record))
    answer = cli("diff", folder, folder)
    assert (answer.returncode, answer.stdout) == (5, "")
    assert "a record contradicts itself" in answer.stderr


def test_sweeps_damaged_records_and_missing_files_are_refused(cli, tmp_path):
    assert cli("diff", DIGITS, SPECS / "ablation_mct_digits.toml").returncode == 3
    assert cli("diff", DIGITS, "nowhere.toml").returncode == 3
    folder = run_folder(tmp_path)
    (folder / "record.json").write_text("{")
    for damaged in (folder, folder / "record.json", tmp_path / "nowhere"):
        answer = cli("diff", DIGITS, damaged)
        assert answer.returncode == (3 if damaged.name == "nowhere" else 5), answer
        assert answer.stdout == ""


def test_plans_of_specs_are_compared_without_torch():
    script = (
        "import sys; from pathlib import Path; from ddspec.differences import compare_experiments;"
        "found = compare_experiments(Path(sys.argv[1]), Path(sys.argv[2]));"
        "assert found.steps and 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", script, DIGITS, SPECS / "digits_mct_ipc1.toml"], check=True
    )
