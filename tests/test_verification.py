"""Is a run what it says? One byte or one number changed is found and named."""

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import h5py
import pytest

import ddspec
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.results import accuracy_of
from ddspec.verification import verify
from ddspec.verification.accuracy import against_record
from ddspec.verification.finding import finding, in_words_of_its_version, same_text
from tests.in_slow_run import first_by_default


@pytest.fixture
def made(smoke_run: Path) -> Path:
    """A run folder with its store beside it."""
    return smoke_run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that may be tampered with, its store beside it."""
    shutil.copytree(made.parent.parent, tmp_path / "copy")
    return tmp_path / "copy" / "runs" / made.name


def faults(run: Path, evaluate: bool = False, **where) -> dict[str, str]:
    """What is found at fault, by what was looked at."""
    store = where.get("store", run.parent.parent / "store")
    findings = list(verify(run, store=store, evaluate=evaluate))
    return {finding.what: finding.detail for finding in findings if finding.verdict == "fault"}


@pytest.mark.slow
def test_a_run_is_what_it_says_also_out_of_its_synthetic_set_alone(made: Path):
    findings = list(verify(made, store=made.parent.parent / "store"))
    assert [f.what for f in findings if f.verdict != "ok"] == ["the rest of the record"]
    assert findings[-1].what == "accuracy from synthetic.h5, convnet"
    assert "bitwise equal" in findings[-1].detail


def test_without_its_store_the_rest_is_verified_and_the_gap_is_said(made: Path, tmp_path: Path):
    findings = list(verify(made, store=tmp_path / "none", evaluate=False))
    assert {finding.verdict for finding in findings} == {"ok", "not checked"}
    (gap,) = [finding for finding in findings if finding.what == "artifacts in the store"]
    assert "are not in this store (dataset, experts" in gap.detail


@pytest.mark.parametrize(
    "name",
    first_by_default(
        ["synthetic.h5", "spec.toml", "resolved.toml", "plan.json", "images/iteration-000012.png"],
        count=1,
    ),
)
def test_one_byte_of_a_file_is_found_by_name(run: Path, name: str):
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    assert faults(run)[name] == "it is not the file that the run wrote"


def test_a_file_that_is_gone_is_found_by_name(run: Path):
    (run / "synthetic.h5").unlink()
    assert faults(run)["synthetic.h5"] == "it is missing"


def change(document: dict, path: str, by) -> None:
    """Set what lies at a path."""
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parts:
        document = document[part]
    document[last] = by(document[last]) if callable(by) else by


@pytest.mark.parametrize(
    ("path", "by", "what", "named"),
    first_by_default(
        [
            (
                "results.accuracy.values.0",
                lambda value: value + 1,
                "results, from the single accuracies",
                "results.accuracy.values[0]",
            ),
            (
                "evaluations.0.values.0",
                lambda value: value + 1,
                "evaluations of the record, from the artifacts",
                "evaluations[0].values[0]",
            ),
            (
                "series.matching_loss.3",
                lambda value: value * 2,
                "series of the record, from the artifacts",
                "matching_loss[3]",
            ),
            (
                "experts.1.test_accuracy.0",
                99.5,
                "experts of the record, from the artifacts",
                "experts[1].test_accuracy[0]",
            ),
            ("environment.device", "Another", "the record in report.html", "environment.device"),
            ("steps.2.seconds", 7.0, "the record in report.html", "steps[2].seconds"),
            ("steps.1.digest", "0" * 32, "digests, from their preimages", "the record of experts"),
            (
                "resolved",
                lambda text: text.replace("syn_steps = 3", "syn_steps = 4"),
                "spec, overrides and resolved spec",
                "matching.syn_steps",
            ),
        ],
        2,
    ),
)
def test_one_number_of_the_record_is_found_by_name(run: Path, path, by, what, named):
    document = json.loads((run / "record.json").read_text())
    change(document, path, by)
    (run / "record.json").write_text(json.dumps(document))
    assert named in faults(run)[what]


def test_a_spec_that_is_not_the_plans_is_found_though_all_its_texts_agree(run: Path):
    document = json.loads((run / "record.json").read_text())
    for key in ("spec", "resolved"):
        document[key] = document[key].replace("syn_steps = 3", "syn_steps = 4")
    (run / "record.json").write_text(json.dumps(document))
    fault = faults(run)["digests, from their preimages"]
    assert "step distill" in fault


def test_one_byte_of_an_artifact_is_found_by_name(run: Path):
    store = run.parent.parent / "store"
    (path, *_) = sorted((store / "expert").glob("*.h5"))
    with h5py.File(path, "r+") as file:
        rows = file["theta"][()]
        rows[1, 3] += 1
        file["theta"][...] = rows
    (fault,) = [what for what in faults(run) if what.startswith("experts: expert/")]
    assert path.name in fault


def test_a_set_that_gives_other_accuracies_is_found_without_a_store(run: Path, tmp_path: Path):
    with h5py.File(run / "synthetic.h5", "r+") as file:
        file["images"][...] = 0.0
    by_check = faults(run, evaluate=True, store=tmp_path / "none")
    assert "in the record" in by_check["accuracy from synthetic.h5, convnet"]


def test_command_says_every_finding_and_ends_with_its_code(cli, run: Path):
    store = run.parent.parent / "store"
    fine = cli("verify", run, "--store", store, "--no-evaluate")
    assert fine.returncode == 0
    assert fine.stdout.splitlines()[-1] == "no fault found; 2 not checked"
    (run / "spec.toml").write_text("ddspec = 1\n")
    wrong = cli("verify", run, "--store", store, "--no-evaluate")
    assert wrong.returncode == 4
    assert "fault: spec.toml" in wrong.stdout
    assert wrong.stdout.splitlines()[-1] == "2 faults; 2 not checked"
    assert cli("verify", run.parent / "none").returncode == 5


def test_what_the_page_says_is_held_against_the_record(run: Path):
    page = run / "report.html"
    page.write_text(page.read_text().replace("Done: all 12 iterations ran.", "Best of all."))
    assert "differs from what ddspec report makes" in faults(run)["the text of report.html"]


@pytest.mark.slow
def test_every_network_is_evaluated_again_at_the_iteration_of_the_set(tmp_path: Path):
    options = ["evaluation.networks=['convnet', 'mlp']", "evaluation.choose=best_on_test"]
    loaded = ddspec.load(Path(__file__).parent / "smoke.toml", options)
    compiled = ddspec.compile(loaded, store=tmp_path / "store")
    run = ddspec.run(compiled, runs=tmp_path / "runs").folder
    findings = list(verify(run, store=tmp_path / "store"))
    again = [finding for finding in findings if finding.what.startswith("accuracy from")]
    assert [finding.verdict for finding in again] == ["ok", "ok"]
    assert all("bitwise equal" in finding.detail for finding in again)


def test_ddspec_on_the_path_but_not_installed_still_verifies(cli, run: Path, monkeypatch):
    def version(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("ddspec.engine.machine.environment.version", version)
    findings = verify(run, store=run.parent.parent / "store", evaluate=False)
    verdicts = {finding.what: finding.verdict for finding in findings}
    assert verdicts["the text of report.html"] == "ok"
    assert cli("--version").stdout == "ddspec unknown\n"


def test_equal_networks_are_bitwise_equal_whatever_their_mean_rounds_to(made: Path):
    """Two formulas for a mean may differ in the last bit, which is no fault of the record."""
    record = Record.model_validate_json((made / "record.json").read_bytes())
    evaluated = next(e for e in record.evaluations if e.subject == "distilled")
    for values in (
        (91.1, 92.3, 89.7),
        (0.1, 0.2, 0.3),
        (90.44444444444444, 92.0, 91.55555555555556),
    ):
        recorded = accuracy_of(evaluated.model_copy(update={"values": values}), "last")
        found = against_record("accuracy", record, record.plan, recorded, values)
        assert found.verdict == "ok", found.detail


VERIFIED_OPTIONS = {
    "validation": ["dataset.validation=0.2", "evaluation.choose=validation"],
    "part": ["dataset.images_per_class=20", "dataset.classes=['1', '3', '7']"],
    "held out of a part": ["dataset.images_per_class=20", "dataset.validation=0.1"],
    "learned labels": ['synthetic.labels={name="learned", lr=1.0}'],
    "expert labels": ['synthetic.labels="expert"'],
    "average": ["synthetic.images.moving_average=0.9"],
    "convex": ["trajectory=convex"],
    "intermediate": ["matching.intermediate={}", "matching.expert_epochs=2"],
    "full data": ["evaluation.full_data={epochs=1}", "evaluation.networks=['mlp', 'convnet']"],
    "no baseline": ["evaluation.baselines=[]"],
    "initial set": ["matching.iterations=0", 'synthetic.init="herding"'],
    "skipped": ["matching.loss_limit=1e-9"],
    "zca": ["dataset.zca=true"],
}
"""Options that change counts, files or series of a run."""


@pytest.mark.slow
@pytest.mark.parametrize("name", VERIFIED_OPTIONS)
def test_run_with_any_option_is_what_it_says(name, tmp_path: Path):
    loaded = ddspec.load(Path(__file__).parent / "smoke.toml", VERIFIED_OPTIONS[name])
    compiled = ddspec.compile(loaded, store=tmp_path / "store")
    run = ddspec.run(compiled, runs=tmp_path / "runs").folder
    findings = list(verify(run, store=tmp_path / "store"))
    assert [(f.what, f.detail) for f in findings if f.verdict == "fault"] == []
    assert [f.what for f in findings if f.verdict != "ok"] == ["the rest of the record"]


def test_a_text_that_another_commit_wrote_is_not_checked(run: Path):
    record = Record.model_validate_json((run / "record.json").read_bytes())
    other = record.environment.model_copy(update={"commit": "1" * 40})
    found = finding("the text of a file", ["it differs"])
    assert in_words_of_its_version(record, found) == found
    of_other = in_words_of_its_version(record.model_copy(update={"environment": other}), found)
    assert of_other.verdict == "not checked"
    assert "1" * 40 in of_other.detail


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("mean,8.870000000000001\nn,5", True),
        ("mean,8.87\nn,5", True),
        ("mean,8.88\nn,5", False),
        ("mean,8.87\nn,5\n", False),
        ("std,8.87\nn,5", False),
        ("mean,8.87,8.87\nn,5", False),
    ],
)
def test_texts_are_the_same_if_their_numbers_are_up_to_rounding(other, same):
    assert same_text("mean,8.87\nn,5", other) == same
