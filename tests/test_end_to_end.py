"""From a spec to a page: exit codes, reuse, signals, privacy."""

import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import ddspec
from ddspec.dsl.record.series import Series
from tests.in_slow_run import first_by_default

LONGER = (
    "--set",
    "experts.epochs=40",
    "--set",
    "matching.max_start_epoch=30",
    "--set",
    "matching.iterations=120",
)


def with_options(*options):
    return [part for option in options for part in ("--set", option)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with store and runs, and the smoke spec's run in it."""
    folder = tmp_path_factory.mktemp("finished")
    loaded = ddspec.load(Path(__file__).parent / "smoke.toml")
    compiled = ddspec.compile(loaded, store=folder / "store")
    return folder, ddspec.run(compiled, runs=folder / "runs")


def test_run_folder_holds_what_the_readme_says(finished):
    _, run = finished
    assert {path.name for path in run.folder.iterdir()} == {
        "spec.toml",
        "resolved.toml",
        "plan.json",
        "record.json",
        "synthetic.h5",
        "figures",
        "images",
        "report.html",
    }
    assert run.folder.name == f"smoke-{run.record.plan.digest[:8]}"


def test_record_holds_results_series_and_every_single_accuracy(finished):
    _, run = finished
    record = json.loads((run.folder / "record.json").read_text())
    assert record["reading"] == {"source": "scikit-learn", "files": None, "notes": []}
    accuracy = record["results"]["accuracy"]
    assert set(accuracy) == {"mean", "std", "n", "values", "network", "choose", "iteration"}
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    assert accuracy["std"] == pytest.approx(np.std(accuracy["values"]))
    assert (accuracy["n"], accuracy["choose"], accuracy["iteration"]) == (2, "last", 12)
    known = Series.model_validate(record["series"]).known
    assert {len(record["series"][name]) for name in known} == {12}
    assert [e["iteration"] for e in record["evaluations"]] == [0, 5, 10, 12, 0, 0]
    assert record["results"]["random_real"]["convnet"]["n"] == 2
    assert record["results"]["random_real_expert_labels"]["convnet"]["n"] == 2
    assert record["results"]["expert"] == record["experts"][0]["test_accuracy"][3]
    means = {e["iteration"]: np.mean(e["values"]) for e in record["evaluations"][:4]}
    for reached in record["results"]["reached"]:
        first = [i for i, mean in sorted(means.items()) if mean >= reached["accuracy"]]
        assert reached["iteration"] == (first[0] if first else None)
    assert len(record["experts"]) == 3
    for expert in record["experts"]:
        assert expert["avg_var"] == pytest.approx(np.square(expert["step_length"]).mean())


def test_synthetic_set_has_everything_that_training_on_it_needs(finished):
    _, run = finished
    with h5py.File(run.folder / "synthetic.h5") as file:
        assert file["images"].shape == (10, 1, 8, 8)
        assert file["labels"][()].tolist() == list(range(10))
        assert file["student_lr"][()] > 0
        assert set(file) == {"images", "labels", "student_lr", "mean", "std"}
        assert json.loads(file.attrs["class_names"]) == list("0123456789")


def test_resolved_spec_gives_the_same_plan(finished):
    folder, run = finished
    compiled = ddspec.compile(ddspec.load(run.folder / "resolved.toml"), store=folder / "store")
    assert compiled.plan.digest == run.record.plan.digest


def test_second_run_computes_nothing(finished):
    folder, run = finished
    compiled = ddspec.compile(
        ddspec.load(Path(__file__).parent / "smoke.toml"), store=folder / "store"
    )
    again = ddspec.run(compiled, runs=folder / "other")
    assert {step.status for step in again.record.steps} == {"reused"}
    assert again.record.results == run.record.results


def test_changed_title_reaches_the_record_of_the_same_run(finished):
    folder, run = finished
    loaded = ddspec.load(Path(__file__).parent / "smoke.toml", ["title=another"])
    again = ddspec.run(ddspec.compile(loaded, store=folder / "store"), runs=folder / "runs")
    assert again.folder == run.folder
    assert again.record.title == "another"
    assert again.record.plan.steps == run.record.plan.steps


def test_nothing_names_the_machine_or_its_user(finished):
    folder, _ = finished
    words = {str(folder), str(Path(__file__).parent.parent), str(Path.home())}
    # Shorter names occur in any file by chance.
    words |= {name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4}
    for path in [*folder.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            for word in words:
                assert word.encode() not in content, (path.name, word)


def test_committed_golden_files_name_no_machine():
    for path in (Path(__file__).parent / "dsl" / "golden").rglob("*"):
        if path.is_file():
            assert not re.search(rb"/(home|root|tmp|work|Users)/", path.read_bytes()), path


def test_plan_names_key_both_values_and_line(finished, cli, smoke, tmp_path):
    folder, _ = finished
    changed = tmp_path / "changed.toml"
    changed.write_text(smoke.read_text().replace("syn_steps = 3", "syn_steps = 4"))
    line = changed.read_text().splitlines().index("syn_steps = 4") + 1
    text = cli("plan", changed, "--store", folder / "store").stdout
    assert f"distill: matching.syn_steps 3 -> 4 (line {line})" in text
    plan = json.loads(cli("plan", changed, "--store", folder / "store", "--json").stdout)
    steps = {step["id"]: step for step in plan["steps"]}
    assert [id for id, step in steps.items() if not step["reused"]] == [
        "distill",
        "evaluate-convnet",
    ]
    assert steps["distill"]["reasons"] == [
        {"key": "matching.syn_steps", "text": "matching.syn_steps 3 -> 4", "line": line}
    ]
    assert steps["distill"]["estimate"]["seconds_left"] > 0


def reasons(cli, spec, store, *options):
    """Return the reasons of each step of a plan, as pairs of text and line."""
    answer = cli("plan", spec, "--store", store, "--json", *options)
    steps = json.loads(answer.stdout)["steps"]
    return {step["id"]: [(r["text"], r["line"]) for r in step["reasons"]] for step in steps}


def test_reason_for_a_short_form_has_values_and_line(finished, cli, smoke, tmp_path):
    folder, _ = finished
    changed = tmp_path / "changed.toml"
    changed.write_text(smoke.read_text().replace("ipc = 1\n", 'ipc = 1\ninit = "noise"\n'))
    line = changed.read_text().splitlines().index('init = "noise"') + 1
    changes = reasons(cli, changed, folder / "store")
    assert changes["initialise"] == [('synthetic.init.name "real" -> "noise"', line)]
    changes = reasons(cli, smoke, folder / "store", "--set", "experts.optimizer={lr=0.5}")
    assert changes["experts"] == [("experts.optimizer.lr 0.01 -> 0.5", None)]


@pytest.mark.slow
def test_plan_reports_an_earlier_divergence(cli, smoke, tmp_path):
    options = ("--set", "synthetic.student_lr.lr=1e6")
    cli("run", smoke, "--store", tmp_path / "s", *options)
    ((text, _),) = reasons(cli, smoke, tmp_path / "s", *options)["distill"]
    assert "diverged before" in text
    assert "--retry" in text
    planned = cli("plan", smoke, "--store", tmp_path / "s", *options).stdout
    (row,) = (line.split() for line in planned.splitlines() if line.startswith("distill "))
    assert row[2:] == ["diverged", "-", "-", "-"]


@pytest.mark.parametrize(
    ("option", "missing"),
    [
        ("experts.count=5", [3, 4]),
        ("matching.max_start_epoch=4", [1, 2]),
        ("experts.epochs=5", [0]),
    ],
)
def test_only_new_or_longer_experts_are_trained(finished, cli, smoke, option, missing):
    folder, _ = finished
    plan = cli("plan", smoke, "--store", folder / "store", "--json", "--set", option).stdout
    experts = next(step for step in json.loads(plan)["steps"] if step["id"] == "experts")
    assert [member["number"] for member in experts["missing"]] == missing
    assert experts["reasons"][0]["key"] == option.partition("=")[0]


def test_check_prints_text_or_json(cli, tmp_path):
    (tmp_path / "bad.toml").write_text('ddspec = 1\nname = "bad"\nipcs = 1\n')
    text, machine = cli("check", "bad.toml"), cli("check", "bad.toml", "--json")
    assert text.returncode == machine.returncode == 3
    diagnostics = json.loads(machine.stdout)
    assert [(d["line"], d["column"], d["code"]) for d in diagnostics if d["line"]][-1] == (
        3,
        1,
        "unknown-key",
    )
    fields = {"file", "line", "column", "severity", "code", "key", "message", "hint"}
    assert set(diagnostics[0]) == fields
    assert "bad.toml:3:1" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "nothing.toml"), 3, "the file does not exist"),
        (("check", "{smoke}"), 0, "no errors"),
        (("frobnicate",), 2, "No such command"),
        (("explain", "sin_steps"), 2, "syn_steps"),
        (("explain", "network-too-deep"), 0, "halves the image"),
        (("new", "nothing"), 2, "ddspec new lists all of them"),
        (("new",), 0, "digits_mct_ipc1"),
        (("schema",), 0, "2020-12"),
        (("report", "."), 5, "record"),
        (("plan", "{smoke}", "--device", "cuda"), 5, "CUDA"),
        (
            (
                "run",
                "{smoke}",
                "--set",
                "dataset.name=folder",
                "--set",
                "dataset.root=x",
                "--data",
                ".",
            ),
            5,
            "x/train/CLASS/FILE",
        ),
        (("run", "{smoke}", "--store", "/proc/nowhere"), 5, "kept"),
        (
            ("run", "{smoke}", "--set", "compute.precision=tf32", "--device", "cpu"),
            5,
            "--set compute.precision=float32",
        ),
    ],
)
def test_exit_code_and_message(cli, smoke, arguments, code, words):
    answer = cli(*(argument.format(smoke=smoke) for argument in arguments))
    assert answer.returncode == code, answer.stderr
    assert words in answer.stdout + answer.stderr


def test_diverged_run_ends_in_a_report_and_is_not_run_again(cli, smoke):
    command = ("run", smoke, "--set", "synthetic.student_lr.lr=1e6")
    first, second = cli(*command), cli(*command)
    for answer in (first, second):
        assert answer.returncode == 1
        assert "diverged at iteration" in answer.stderr
    assert "--retry" in second.stderr


def start(arguments, folder, stderr=subprocess.DEVNULL):
    return subprocess.Popen(
        [sys.executable, "-m", "ddspec", "run", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def synthetic_set(folder):
    (path,) = (folder / "runs").glob("*/synthetic.h5")
    with h5py.File(path) as file:
        return {key: file[key][()].tobytes() for key in file}


@pytest.mark.parametrize(
    ("number", "code"), first_by_default([(signal.SIGINT, 130), (signal.SIGTERM, 143)])
)
def test_signal_leaves_a_run_that_can_continue(tmp_path, smoke, number, code):
    process = start((smoke, *LONGER), tmp_path, subprocess.PIPE)
    experts = tmp_path / ".ddspec" / "store" / "expert"
    while process.poll() is None and not list(experts.glob("*.h5")):
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "run the same command to continue" in stderr
    assert "Traceback" not in stderr
    assert not [path for path in tmp_path.rglob(".*.h5.*")]
    assert list(experts.glob("*.h5"))


@pytest.mark.slow
def test_wheel_runs_beside_a_users_module_named_engine(tmp_path):
    root = Path(__file__).parent.parent
    copy = tmp_path / "source"
    shutil.copytree(
        root,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "runs", ".ddspec"),
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, copy], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel],
        check=True,
    )
    work = tmp_path / "work"
    work.mkdir()
    for name in ("engine", "dsl", "reports"):
        (work / f"{name}.py").write_text("raise RuntimeError('the user\\'s own module')\n")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "ddspec", *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )

    path = subprocess.run(
        [sys.executable, "-c", "import ddspec.dsl.spec.experiment as s; print(s.__file__)"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    assert path.startswith(str(site))
    assert call("new", "digits_ipc1").returncode == 0
    small = [
        "--set",
        "matching.iterations=5",
        "--set",
        "evaluation.epochs=3",
        "--set",
        "experts.count=2",
    ]
    answer = call("run", "digits_ipc1.toml", *small)
    assert answer.returncode == 0, answer.stderr
    assert (work / answer.stdout.splitlines()[-1] / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_many_ingredients_end_in_a_page_that_shows_them(cli, smoke, tmp_path, ingredients):
    answer = cli("run", smoke, *with_options(*ingredients), "--store", tmp_path / "s")
    assert answer.returncode == 0, answer.stderr
    assert "random real images with expert labels" in answer.stdout
    folder = tmp_path / answer.stdout.splitlines()[-1]
    with h5py.File(folder / "synthetic.h5") as file:
        assert file["labels"].shape == (10, 10)
        np.testing.assert_allclose(file["labels"][()].sum(1), 1, rtol=1e-5)
    record = json.loads((folder / "record.json").read_text())
    departed = [d["key"] for d in record["deviations"]]
    assert departed == ["experts.smoothing.gradient_penalty.norm", "synthetic.labels.experts"]
    assert len(record["clusters"]) == 4
    assert len(record["soft_labels"]["own"]) == 10
    page = (folder / "report.html").read_text()
    for words in (
        "Inner loss by start epoch",
        "part of the parameters matched",
        "Both distances leave out the first 25 % of the parameters",
        "Clusters of class 0",
        "Soft labels",
        "gradients clipped to a norm of 0.001",
        "Keys of this spec that differ",
        "Iterations needed to reach an accuracy",
    ):
        assert words in page


@pytest.mark.slow
def test_reason_for_a_new_ingredient_says_that_it_was_not_set(cli, smoke, tmp_path):
    assert cli("run", smoke, "--store", tmp_path / "s").returncode == 0
    for option, text in {
        "matching.intermediate={weights='growing'}": 'matching.intermediate.weights not set -> "growing"',
        "compute.deterministic=false": "compute.deterministic true -> false",
        "synthetic.init={name='correct', experts=2}": "synthetic.init.experts not set -> 2",
    }.items():
        answer = cli("plan", smoke, "--set", option, "--store", tmp_path / "s")
        assert text in answer.stdout
        assert "dataset " not in answer.stdout.partition("why:")[2]


@pytest.mark.slow
def test_whitened_run_stores_pixels_and_the_inverse(cli, smoke, tmp_path):
    answer = cli("run", smoke, "--set", "dataset.zca=true", "--store", tmp_path / "s")
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / answer.stdout.splitlines()[-1]
    with h5py.File(folder / "whitening.h5") as file:
        vectors = file["zca_vectors"][()]
    with h5py.File(folder / "synthetic.h5") as file:
        values = file["zca_values"][()]
        inverse = vectors * np.sqrt(values + file.attrs["zca_epsilon"]) @ vectors.T
        pixels = file["images"][()].reshape(10, -1) @ inverse + file["zca_mean"][()]
        np.testing.assert_allclose(pixels.reshape(10, 1, 8, 8), file["pixels"][()], atol=1e-4)
        assert "mean" not in file
    again = cli("run", smoke, "--set", "dataset.zca=true", "--store", tmp_path / "s")
    assert again.stdout.partition("\n")[2] == answer.stdout
    checked = cli("verify", folder, "--store", tmp_path / "s", "--no-evaluate").stdout
    assert "ok: whitening.h5\n" in checked
    assert "ok: whitening.h5, from the artifact" in checked
    small = tmp_path / "small"
    assert cli("export", folder, "--as", "run", "--to", small).returncode == 0
    left_out = {path.name for path in folder.iterdir()} - {path.name for path in small.iterdir()}
    assert left_out == {"whitening.h5", "events.jsonl", "run.log"}
    without = cli("verify", small, "--store", tmp_path / "s")
    assert without.returncode == 0, without.stdout
    assert "not checked: whitening.h5: it is missing" in without.stdout
    assert "ok: accuracy from synthetic.h5" in without.stdout
    refused = cli("export", small, "--to", tmp_path / "e")
    assert (refused.returncode, refused.stderr.count("whitening.h5")) == (5, 1)


@pytest.mark.slow
def test_other_networks_are_evaluated_and_may_be_experts(cli, smoke, tmp_path):
    several = with_options("evaluation.networks=['convnet', 'mlp', 'alexnet']")
    answer = cli("run", smoke, *several, "--store", tmp_path / "s")
    assert answer.returncode == 0, answer.stderr
    record = json.loads((tmp_path / answer.stdout.splitlines()[-1] / "record.json").read_text())
    assert set(record["results"]["per_network"]) == {"convnet", "mlp", "alexnet"}
    assert set(record["results"]["random_real_expert_labels"]) == {"convnet", "mlp", "alexnet"}

    only_mlp = with_options("network={name='mlp'}", "evaluation.networks=['mlp']")
    answer = cli("run", smoke, *only_mlp, "--store", tmp_path / "s")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_runs_show_the_paths_that_they_match_and_a_coreset_needs_no_matching(cli, smoke, tmp_path):
    convex = cli("run", smoke, "--set", "trajectory=convex", "--store", tmp_path / "s")
    assert convex.returncode == 0, convex.stderr
    folder = tmp_path / convex.stdout.splitlines()[-1]
    record = json.loads((folder / "record.json").read_text())
    assert all(len(expert["path_accuracy"]) == 5 for expert in record["experts"])
    assert "Accuracy along the convexified path" in (folder / "report.html").read_text()

    curved = cli("run", smoke, "--set", "trajectory=bezier", "--store", tmp_path / "s")
    assert curved.returncode == 0, curved.stderr
    folder = tmp_path / curved.stdout.splitlines()[-1]
    record = json.loads((folder / "record.json").read_text())
    assert all(len(expert["path_accuracy"]) == 5 for expert in record["experts"])
    assert all(len(expert["curve_loss"]) == 2 for expert in record["experts"])
    page = (folder / "report.html").read_text()
    assert "with quadratic Bezier curves" in page
    assert "Accuracy along the Bezier curve" in page

    options = with_options("matching.iterations=0", "synthetic.init=herding")
    alone = cli("run", smoke, *options, "--store", tmp_path / "s")
    assert alone.returncode == 0, alone.stderr
    record = json.loads((tmp_path / alone.stdout.splitlines()[-1] / "record.json").read_text())
    assert record["results"]["accuracy"]["iteration"] == 0
    assert [expert["index"] for expert in record["experts"]] == [0]


@pytest.mark.slow
def test_preview_is_marked_everywhere_and_runs_again_from_its_resolved_spec(cli, smoke):
    options = ("--set", "experts.epochs=20", "--set", "matching.iterations=150")
    planned = cli("plan", smoke, "--preview", *options)
    assert "a preview, shrunk to minutes:" in planned.stdout
    assert "matching.iterations: 150 -> 100" in planned.stdout
    ran = cli("run", smoke, "--preview", *options, "--set", "matching.syn_steps=1")
    assert ran.returncode == 0
    assert "say nothing about the method" in ran.stdout
    folder = Path(ran.stdout.splitlines()[-1])
    assert folder.name.startswith("smoke-preview-")
    record = json.loads((folder / "record.json").read_text())
    assert "matching.iterations: 150 -> 100" in record["plan"]["preview"]
    assert any("preview" in note for note in record["notes"])
    page = (folder / "report.html").read_text()
    assert "A preview, not a result" in page
    assert "<li>matching.iterations: 150 \N{RIGHTWARDS ARROW} 100</li>" in page
    again = cli("run", folder / "resolved.toml")
    assert again.stdout.splitlines()[-1] == ran.stdout.splitlines()[-1]
    complete = cli("plan", smoke, *options)
    assert "preview" not in complete.stdout


def test_record_keeps_estimated_and_measured_cost(finished):
    _, run = finished
    assert run.record.plan.measured_rates
    for step in run.record.steps:
        if step.kind in ("experts", "distill", "evaluate"):
            assert 0.3 < step.estimate.memory_bytes / step.memory_bytes < 3
            assert 0.3 < step.estimate.disk_bytes / step.bytes < 3


def test_plan_without_images_lists_what_is_unknown(cli, smoke):
    options = ("--set", "dataset.name=cifar10", "--set", "augmentation.families=[]")
    planned = cli("plan", smoke, *options, "--data", "nowhere")
    assert planned.returncode == 0
    assert "cifar10" in planned.stdout
    assert "unknown without the images:" in planned.stdout
    assert "the digests" in planned.stdout
    assert not Path("nowhere").exists()
    as_json = json.loads(cli("plan", smoke, *options, "--data", "nowhere", "--json").stdout)
    assert as_json["unread"]
    folder = ("--set", "dataset.name=folder", "--set", "dataset.root=mine")
    assert cli("plan", smoke, *folder, "--data", "nowhere").returncode == 5


def test_preview_of_a_spec_that_does_not_fit_its_images_is_refused(cli, smoke):
    from PIL import Image

    for split in ("train", "test"):
        for name in ("ant", "bee"):
            folder = Path("data", "mine", split, name)
            folder.mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (8, 8), (index, 9, 9)).save(folder / f"{index}.png")
    folder = ("dataset.name=folder", "dataset.root=mine")
    unfit = with_options(*folder, 'dataset.classes=["cow", "dog"]')
    refused = cli("plan", smoke, "--data", "data", "--preview", *unfit)
    assert refused.returncode == 3
    assert 'no class "cow"' in refused.stderr
    fits = cli("plan", smoke, "--data", "data", "--preview", *with_options(*folder))
    assert fits.returncode == 0


def test_name_that_is_too_long_is_refused_before_any_work(cli, tmp_path, smoke):
    spec = tmp_path / "long.toml"
    spec.write_text(smoke.read_text().replace('name = "smoke"', f'name = "{"a" * 200}"'))
    store, long = tmp_path / "store", tmp_path / ("r" * 256)
    refused = cli("run", spec, "--store", store, "--runs", tmp_path / "runs")
    assert refused.returncode == 3
    assert "must be 1 to 100 letters" in refused.stderr
    assert not store.exists()
    refused = cli("run", smoke, "--store", store, "--runs", long)
    assert refused.returncode == 5
    assert "names of at most 255 bytes; give a shorter one" in refused.stderr
    assert not (store / "expert").exists()
