"""`ddspec runs`: which runs are listed, in what order, and how wide."""

import json
import shutil
from pathlib import Path

import pytest

from ddspec.cli.texts.columns import cells, columns
from tests.on_terminal import on_terminal
from tests.reports.invented import invented_record, invented_sweep, write_run_folder

SPECS = Path(__file__).parent.parent / "specs"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with three runs of two specs, a sweep, and two folders that cannot be read."""
    folder = tmp_path_factory.mktemp("listed") / "runs"
    text = (SPECS / "digits_ipc1.toml").read_text()
    for overrides in ((), ("seed=3",), ("matching.syn_steps=12", "synthetic.ipc=2")):
        write_run_folder(folder, invented_record(text, overrides), {})
    (folder / "half-00000000").mkdir()
    (folder / "half-00000000" / "plan.json").write_text("{}")
    (folder / "broken-00000000").mkdir()
    (folder / "broken-00000000" / "record.json").write_text("{")
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def with_sweep(runs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("swept") / "runs"
    shutil.copytree(runs, folder)
    invented_sweep(SPECS / "ablation_mct_digits.toml", folder)
    return folder


def rows_of(answer) -> list[str]:
    return answer.stdout.splitlines()[1:]


def test_runs_of_one_spec_are_told_apart_and_the_unreadable_are_named(cli, runs):
    answer = cli("runs", runs)
    assert answer.returncode == 0
    rows = rows_of(answer)
    assert len(rows) == 3
    assert {row.rpartition("  ")[2] for row in rows} == {
        "seed=0",
        "seed=3",
        "seed=0, matching.syn_steps=12, synthetic.ipc=2",
    }
    assert all("digits_ipc1-" in row and " +- " in row and "convnet" in row for row in rows)
    broken, half = answer.stderr.splitlines()
    assert broken.startswith("not listed: broken-00000000: broken-00000000/record.json is damaged")
    assert (
        half == "not listed: half-00000000: it has a plan but no record: still running, or killed"
    )


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--name", "DIGITS"), 3),
        (("--name", "mnist"), 0),
        (("--dataset", "digits"), 3),
        (("--dataset", "cifar10"), 0),
        (("--network", "convnet"), 3),
        (("--network", "vgg11"), 0),
        (("--ipc", "2"), 1),
        (("--outcome", "done"), 3),
        (("--outcome", "diverged"), 0),
        (("--ipc", "1", "--outcome", "done"), 2),
    ],
)
def test_options_leave_runs_out(cli, runs, options, count):
    answer = cli("runs", runs, *options)
    assert (answer.returncode, len(rows_of(answer))) == (0, count)
    assert ("no run matches these options" in answer.stderr) == (count == 0)
    listed = json.loads(cli("runs", runs, *options, "--json").stdout)
    assert len(listed["runs"]) == count
    assert [unread["folder"] for unread in listed["unread"]] == ["broken-00000000", "half-00000000"]


def test_sweep_stands_below_the_runs_and_only_its_name_selects_it(cli, with_sweep):
    last = rows_of(cli("runs", with_sweep))[-1]
    assert last.startswith("ablation_mct_digits-sweep-")
    assert " runs: " in last and "sweep over seed, case" in last
    names = json.loads(cli("runs", with_sweep, "--name", "ablation", "--json").stdout)["sweeps"]
    assert [sweep["name"] for sweep in names] == ["ablation_mct_digits"]
    for options in (("--name", "ipc1"), ("--dataset", "digits")):
        assert json.loads(cli("runs", with_sweep, *options, "--json").stdout)["sweeps"] == []


def test_runs_are_sorted_by_each_key(cli, runs, with_sweep):
    def listed(key: str, column: str) -> list:
        answer = json.loads(cli("runs", with_sweep, "--sort", key, "--json").stdout)
        return [row[column] for row in answer["runs"]]

    for key, column in (("name", "folder"), ("ipc", "ipc"), ("outcome", "outcome")):
        assert listed(key, column) == sorted(listed(key, column))
    assert listed("time", "seconds") == sorted(listed("time", "seconds"))
    assert listed("date", "date") == sorted(listed("date", "date"), reverse=True)
    means = [accuracy["mean"] for accuracy in listed("accuracy", "accuracy") if accuracy]
    assert len(means) > 3 and means == sorted(means, reverse=True)


def test_folder_without_runs_is_an_error(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    assert cli("runs", "nowhere").returncode == 5
    answer = cli("runs", "empty")
    assert (answer.returncode, answer.stdout) == (5, "")
    assert "empty contains no run" in answer.stderr


def test_table_fits_into_the_terminal(runs):
    printed = on_terminal("runs", runs, streams=("stdout",), COLUMNS="90")
    lines = printed.splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 90
    assert any(line.endswith("...") for line in lines)


ROWS = [("run", "n", "changed"), ("digits_ipc1-0a1b2c3d", "5", "seed=0, \u65e5\u672c\u8a9e=1")]


@pytest.mark.parametrize("width", range(1, 60))
def test_lines_are_never_wider_than_asked_and_lose_nothing_that_fits(width):
    lines = columns(ROWS, width, whole=[1])
    assert max(map(cells, lines)) <= width
    assert (lines == columns(ROWS)) == (width >= max(map(cells, columns(ROWS))))


def test_narrow_terminal_has_fewer_columns_but_whole_numbers():
    head, row = columns(ROWS, 20, whole=[1], left_out=[2, 0])
    assert head.split() == ["run", "n"] and row.split()[1] == "5"
    assert columns(ROWS, 5, whole=[1], left_out=[2, 0]) == ["n", "5"]


def test_first_column_keeps_its_end_and_others_their_begin():
    _, line = columns(ROWS, 32, whole=[1])
    name, number, changed = line.split("  ")
    assert name.endswith("c3d") and "..." in name
    assert number == "5"
    assert changed.rstrip().endswith("...") and changed.startswith("seed=")
