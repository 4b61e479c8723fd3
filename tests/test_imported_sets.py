"""Synthetic sets from elsewhere, from the files to the page."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import ddspec
from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.exchange.export import export_run
from ddspec.engine.exchange.import_set import SetOptions, import_set
from ddspec.engine.maintenance.garbage import digests_of
from ddspec.engine.store.store import Store
from ddspec.reports.pages.run import read_record
from ddspec.verification import verify

SMOKE = Path(__file__).parent / "smoke.toml"
SETTINGS = ("evaluation.repeats=2", "evaluation.epochs=4", "network.depth=1", "network.width=8")
LEARNED = 'synthetic.labels={name="learned", lr=1.0}'


def made(folder: Path, *options: str) -> ddspec.Run:
    loaded = ddspec.load(SMOKE, options)
    return ddspec.run(ddspec.compile(loaded, store=folder / "store"), runs=folder / "runs")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ddspec.Run:
    """A finished run whose set is exported."""
    folder = tmp_path_factory.mktemp("run")
    finished = made(folder)
    export_run(finished.folder, finished.record, folder / "out", ("pt", "npz", "images"))
    return finished


@pytest.fixture(scope="module")
def exported(run: ddspec.Run) -> Path:
    return run.folder.parent.parent / "out"


def spec_of(folder: Path, init: str, *lines: str) -> Path:
    """A spec that evaluates a set under the settings of the smoke spec."""
    path = folder / "set.toml"
    head = 'ddspec = 1\nname = "set"\n[dataset]\nname = "digits"\n'
    evaluation = "[evaluation]\nrepeats = 2\nevery = 5\nepochs = 4\n"
    families = '["color", "crop", "cutout", "scale", "rotate"]'
    path.write_text(
        f"{head}[network]\ndepth = 1\nwidth = 8\n[augmentation]\nfamilies = {families}\n"
        f"[synthetic]\nipc = 1\ninit = {init}\n{evaluation}" + "\n".join(lines) + "\n"
    )
    return path


def imported(store: Path, *paths: Path, **options) -> str:
    """The line of a spec that begins from the set in these files."""
    asked = {"pixels": "normalized", **options}
    described = import_set(paths, SetOptions(dataset="digits", **asked), Store(store))
    return f'{{ name = "imported", set = "{described.name}", iteration = {described.iteration} }}'


def evaluated(folder: Path, spec: Path) -> ddspec.Run:
    compiled = ddspec.compile(ddspec.load(spec), store=folder / "store")
    return ddspec.run(compiled, runs=folder / "runs")


@pytest.mark.slow
def test_exported_pair_evaluates_to_the_bits_of_its_run(run, exported, tmp_path):
    pair = [exported / f"{name}_best.pt" for name in ("images", "labels", "lr")]
    init = imported(tmp_path / "store", *pair)
    again = evaluated(tmp_path, spec_of(tmp_path, init))
    assert again.record.results.accuracy.values == run.record.results.accuracy.values
    assert [step.kind for step in again.record.steps] == [
        *("dataset", "initialise", "distill", "evaluate", "evaluate")
    ]
    described = again.record.imported_set
    assert described is not None
    assert [file.name for file in described.files] == [path.name for path in pair]
    page = (again.folder / "report.html").read_text()
    assert described.name in page
    assert described.files[0].sha256[:12] in page
    findings = list(verify(again.folder, store=tmp_path / "elsewhere"))
    assert not [finding for finding in findings if finding.verdict == "fault"]
    assert any("bitwise equal" in finding.detail for finding in findings)


@pytest.mark.slow
def test_data_card_holds_the_command_that_imports_the_pair(run, exported, cli, tmp_path):
    command = re.search(r"judged again: `ddspec (.*)`", (exported / "README.md").read_text())
    words = shlex.split(command[1])
    words = [exported / word if word.endswith(".pt") else word for word in words]
    answer = cli(*words, "--store", tmp_path / "store")
    assert answer.returncode == 0, answer.stderr
    init = answer.stdout.splitlines()[-1].removeprefix("init = ")
    again = evaluated(tmp_path, spec_of(tmp_path, init))
    assert again.record.results.accuracy.values == run.record.results.accuracy.values


@pytest.mark.slow
def test_set_with_learned_labels_keeps_its_bits_by_its_own_file(tmp_path):
    soft = made(tmp_path / "soft", LEARNED)
    init = imported(tmp_path / "store", soft.folder / "synthetic.h5", pixels=None)
    again = evaluated(tmp_path, spec_of(tmp_path, init))
    assert again.record.imported_set.labels == "soft"
    assert again.record.results.accuracy.values == soft.record.results.accuracy.values


@pytest.mark.slow
def test_learning_rate_of_the_set_is_also_that_of_the_baseline(exported, tmp_path):
    files = [exported / "images_best.pt", exported / "labels_best.pt"]
    init = imported(tmp_path / "store", *files, lr=0.125)
    record = evaluated(tmp_path, spec_of(tmp_path, init)).record
    assert {evaluation.student_lr for evaluation in record.evaluations} == {0.125}


def test_classes_in_another_order_are_the_same_set(run, exported, tmp_path):
    images, labels = (
        torch.load(exported / f"{name}_best.pt", weights_only=True) for name in ("images", "labels")
    )
    torch.save([images, 9 - labels], tmp_path / "pair.pt")
    rate = run.record.series.student_lr[-1]
    order = tuple("9876543210")
    init = imported(
        tmp_path / "store", tmp_path / "pair.pt", class_order=order, lr=rate, iteration=12
    )
    again = evaluated(tmp_path, spec_of(tmp_path, init))
    assert again.record.results.accuracy.values == run.record.results.accuracy.values


def test_pixels_in_the_unit_interval_are_normalised_as_real_ones(exported, tmp_path):
    init = imported(tmp_path / "store", exported / "images", pixels=None, lr=0.01)
    record = evaluated(tmp_path, spec_of(tmp_path, init)).record
    with np.load(exported / "synthetic.npz") as arrays:
        images, mean, std = arrays["images"], arrays["mean"], arrays["std"]
    with Store(tmp_path / "store").open("synthetic", record.plan.initialise.digest) as file:
        unit = file["images"][()] * std[0] + mean[0]
    np.testing.assert_allclose(unit, np.clip(images * std[0] + mean[0], 0, 1), atol=0.5 / 255)


@pytest.mark.slow
def test_distillation_goes_on_from_an_imported_set(exported, tmp_path):
    pair = [exported / f"{name}_best.pt" for name in ("images", "labels", "lr")]
    init = imported(tmp_path / "store", *pair, iteration=12)
    spec = spec_of(tmp_path, init, "[experts]", "count = 1", "epochs = 2")
    more = "[matching]\niterations = 2\nsyn_steps = 2\nexpert_epochs = 1\nmax_start_epoch = 1\n"
    spec.write_text(spec.read_text() + more)
    record = evaluated(tmp_path, spec).record
    assert len(record.series.matching_loss) == 2
    assert record.evaluations[0].student_lr == pytest.approx(
        float(torch.load(pair[2], weights_only=True))
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ipc = 1", "ipc = 2"), "has 1 images per class, but the spec says 2"),
        (('name = "digits"', 'name = "digits"\nzca = true'), "dataset.zca = true"),
        (
            ('name = "digits"', 'name = "digits"\nclasses = ["0", "1", "2"]'),
            "has 10 classes, but the dataset of the spec has 3",
        ),
        (('name = "digits"', 'name = "digits"\nresolution = 16'), "8x8 pixels"),
        (("[evaluation]", "[evaluation]\nlr = 0.1"), ""),
    ],
)
def test_what_does_not_fit_the_spec_is_said_before_any_training(exported, tmp_path, change, words):
    files = [exported / "images_best.pt", exported / "labels_best.pt"]
    init = imported(tmp_path / "store", *files)
    spec = spec_of(tmp_path, init)
    if not words:
        with pytest.raises(StoreError, match="brings no learning rate") as refused:
            ddspec.compile(ddspec.load(spec), store=tmp_path / "store")
        assert "evaluation.lr" in refused.value.hint
    spec.write_text(spec.read_text().replace(*change, 1))
    if words:
        with pytest.raises(StoreError, match=words):
            ddspec.compile(ddspec.load(spec), store=tmp_path / "store")
    else:
        ddspec.compile(ddspec.load(spec), store=tmp_path / "store")


def test_missing_set_is_said_with_the_command_that_imports_it(cli, tmp_path):
    spec = spec_of(tmp_path, '{ name = "imported", set = "0123456789abcdef0123456789abcdef" }')
    for command in ("plan", "run"):
        answer = cli(command, spec, "--store", tmp_path / "store")
        assert answer.returncode == 5
        assert "is not in this store" in answer.stderr
        assert "ddspec import --synthetic FILE" in answer.stderr


def test_shared_folder_judges_the_set_again(run, cli, tmp_path):
    answer = cli("export", run.folder, "--as", "share", "--to", "share")
    assert answer.returncode == 0, answer.stderr
    assert {path.name for path in Path("share").iterdir()} == {"README.md", "set.h5", "spec.toml"}
    missing = cli("run", "share/spec.toml", "--store", "st")
    assert "is not in this store" in missing.stderr
    taken = cli("import", "--synthetic", "share/set.h5", "--dataset", "digits", "--store", "st")
    assert taken.returncode == 0, taken.stderr
    again = cli("run", "share/spec.toml", "--store", "st")
    assert again.returncode == 0, again.stderr
    record = read_record(Path(again.stdout.splitlines()[-1]))
    assert record.results.accuracy.values == run.record.results.accuracy.values
    assert record.compared[0].verdict == "agrees"
    assert record.imported_set.source.startswith("the whole path in a few seconds, plan ")
    answer = cli("export", Path(again.stdout.splitlines()[-1]), "--as", "share", "--to", "twice")
    assert answer.returncode == 0, answer.stderr
    name = re.compile('set = "([0-9a-f]{32})"')
    assert name.findall(Path("twice/spec.toml").read_text()) == name.findall(
        Path("share/spec.toml").read_text()
    )


def test_altered_shared_set_is_refused(run, cli, tmp_path):
    import h5py

    cli("export", run.folder, "--as", "share", "--to", "share")
    with h5py.File("share/set.h5", "r+") as file:
        file["images"][0, 0, 0, 0] += 1
    answer = cli("import", "--synthetic", "share/set.h5", "--dataset", "digits", "--store", "st")
    assert answer.returncode == 5
    assert "which it claims to be" in answer.stderr


@pytest.mark.parametrize("protocol", ["mtt", "ast", "datm", "dc", "dd_ranking"])
def test_one_command_writes_a_spec_for_a_set_by_every_protocol(exported, cli, tmp_path, protocol):
    hostile = 'a "source"\n[dataset]\nname = "mnist" \x1b[31m'
    init = imported(
        tmp_path / "store",
        *(exported / f"{n}_best.pt" for n in ("images", "labels")),
        source=hostile,
    )
    name = re.search("[0-9a-f]{32}", init)[0]
    answer = cli("new", "--for-set", name, "--protocol", protocol, "--store", tmp_path / "store")
    assert answer.returncode == 0, answer.stderr
    written = Path(answer.stdout.strip())
    compiled = ddspec.compile(ddspec.load(written), store=tmp_path / "store")
    evaluation = compiled.plan.evaluations("distilled")[0].evaluation
    assert (compiled.plan.dataset.dataset.name, evaluation.protocol) == ("digits", protocol)
    other = cli("new", "--for-set", name, "--dataset", "mnist", "--to", "x.toml", "--store", "none")
    assert other.returncode == 5
    unknown = cli("new", "--for-set", "../../x", "--to", "x.toml")
    assert unknown.returncode == 5
    assert "is not the name of a set" in unknown.stderr


def test_protocol_that_searches_a_rate_takes_that_of_the_set(exported, cli, tmp_path):
    pair = [exported / f"{name}_best.pt" for name in ("images", "labels", "lr")]
    name = re.search("[0-9a-f]{32}", imported(tmp_path / "store", *pair))[0]
    options = ("--protocol", "dd_ranking", "--store", tmp_path / "store")
    written = Path(cli("new", "--for-set", name, *options).stdout.strip())
    evaluation = ddspec.load(written).spec.evaluation
    assert evaluation.lr_search is None
    assert evaluation.lr == float(torch.load(pair[2], weights_only=True))


def test_store_keeps_sets_that_runs_begin_from(exported, tmp_path):
    pair = [exported / f"{name}_best.pt" for name in ("images", "labels", "lr")]
    init = imported(tmp_path / "store", *pair)
    loaded = ddspec.load(spec_of(tmp_path, init))
    plan = ddspec.compile(loaded, store=tmp_path / "store").plan
    assert re.search("[0-9a-f]{32}", init)[0] in digests_of(plan)


def test_set_of_a_run_is_a_dataset_of_torch(run, exported):
    loaded = ddspec.load_set(run.folder)
    assert isinstance(loaded, torch.utils.data.Dataset)
    image, label = loaded[3]
    assert (tuple(image.shape), int(label), len(loaded)) == ((1, 8, 8), 3, 10)
    assert loaded.student_lr == pytest.approx(run.record.series.student_lr[-1])
    assert torch.equal(loaded.images, ddspec.load_set(exported / "synthetic.npz").images)
    with pytest.raises(ddspec.DataError, match="contains no labels"):
        ddspec.load_set(exported / "images_best.pt")
