"""Reproduction of shared runs: equal bits pass, every difference is named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.diagnostics import RecordError, SpecError
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.reproduction import Reproduction
from ddspec.dsl.record.results import accuracy_of
from ddspec.reproduction import read_shared, reproduce
from tests.in_slow_run import first_by_default

EXPECT = """
[[expect]]
accuracy = {accuracy}
std = 30.0
n = 5
choose = "last"
source = "Invented et al., Table 0"
"""


@pytest.fixture
def shared(smoke_run: Path) -> Path:
    """The folder of a shared run."""
    return smoke_run


@pytest.fixture
def record(shared: Path) -> Record:
    return Record.model_validate_json((shared / "record.json").read_bytes())


def save(path: Path, record: Record) -> Path:
    path.write_text(record.model_dump_json())
    return path


def test_page_alone_reproduces_the_same_bits_in_an_empty_folder(cli, shared, tmp_path):
    page = tmp_path / "report.html"
    page.write_bytes((shared / "report.html").read_bytes())

    answer = cli("reproduce", "report.html")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "PASS"
    assert "bitwise equal over 12 iterations" in answer.stdout
    folder = tmp_path / "reproductions" / shared.name
    document = Reproduction.model_validate_json((folder / "reproduction.json").read_bytes())
    assert document.may_differ == ()
    assert {number.verdict for number in document.numbers} == {"PASS"}
    assert (folder / "reproduction.html").exists()
    again = (folder / "runs" / shared.name / "synthetic.h5").read_bytes()
    assert again == (shared / "synthetic.h5").read_bytes()


@pytest.mark.slow
def test_second_reproduction_reuses_nothing_of_the_first(shared, tmp_path):
    first = reproduce(shared / "record.json", to=tmp_path)
    assert list((first.folder / "store").rglob("*.h5"))
    second = reproduce(shared / "record.json", to=tmp_path)
    assert second.reproduction.verdict == "PASS"
    folder = second.folder / "runs" / second.reproduction.folder
    record = Record.model_validate_json((folder / "record.json").read_bytes())
    assert {s.status for s in record.steps if s.kind != "dataset"} == {"computed"}


def test_artifacts_of_a_given_store_are_reused_and_so_not_comparable(shared, tmp_path):
    result = reproduce(shared / "record.json", store=shared.parent.parent / "store", to=tmp_path)
    assert result.reproduction.verdict == "NOT COMPARABLE"
    assert not (result.folder / "store").exists()
    assert {"experts", "distill"} <= set(result.reproduction.reused)
    assert ", ".join(result.reproduction.reused) in result.page.read_text()


@pytest.mark.slow
def test_refused_reproduction_deletes_nothing_and_a_given_store_is_kept(shared, tmp_path):
    first = reproduce(shared / "record.json", to=tmp_path)
    before = sorted(path.name for path in first.folder.rglob("*"))
    record = Record.model_validate_json((shared / "record.json").read_bytes())
    facts = record.dataset.model_copy(update={"fingerprint": "0" * 32})
    other = record.model_copy(update={"dataset": facts})
    with pytest.raises(RecordError, match="fingerprint"):
        reproduce(save(tmp_path / "other.json", other), to=tmp_path)
    assert sorted(path.name for path in first.folder.rglob("*")) == before
    store = first.folder / "store"
    artifacts = sorted(path.name for path in store.rglob("*.h5"))
    reproduce(shared / "record.json", store=store, to=tmp_path)
    assert sorted(path.name for path in store.rglob("*.h5")) == artifacts


def changed_page(shared: Path, tmp_path: Path, part: str) -> Path:
    """Return a page whose `syn_steps` was changed in one of the copies of the spec."""
    text = (shared / "report.html").read_text()
    page = tmp_path / "report.html"
    if part == "resolved-spec":
        head, tail = text.split('id="resolved-spec">')
        page.write_text(
            f'{head}id="resolved-spec">{tail.replace("syn_steps = 3", "syn_steps = 4")}'
        )
        return page
    head, rest = text.split('id="record">')
    embedded, tail = rest.split("</script>", 1)
    document = json.loads(embedded)
    for name in part.split():
        document[name] = document[name].replace("syn_steps = 3", "syn_steps = 4")
    if "resolved" in part.split():
        tail = tail.replace("syn_steps = 3", "syn_steps = 4")
    page.write_text(f'{head}id="record">{json.dumps(document)}</script>{tail}')
    return page


@pytest.mark.parametrize("part", ["resolved-spec", "spec", "resolved", "spec resolved"])
def test_changed_hyper_parameter_is_named_and_nothing_runs(cli, shared, tmp_path, part):
    answer = cli("reproduce", changed_page(shared, tmp_path, part))

    assert answer.returncode == 5
    assert re.search(r"matching\.syn_steps \d -> \d", answer.stderr)
    assert not list(tmp_path.rglob("*/expert/*"))


@pytest.mark.slow
def test_consistently_forged_numbers_fail_by_name(cli, record, tmp_path):
    """The forged record does not contradict itself."""
    accuracy = record.results.accuracy
    forged = tuple(90.0 + value / 100 for value in accuracy.values)
    evaluations = tuple(
        e.model_copy(update={"values": forged})
        if (e.subject, e.iteration) == ("distilled", accuracy.iteration)
        else e
        for e in record.evaluations
    )
    lifted = accuracy_of(next(e for e in evaluations if e.values == forged), record.plan.choose)
    best = lifted.model_copy(update={"choose": "best_on_test"})
    numbers = {"accuracy": lifted, "last": lifted, "best_on_test": best}
    results = record.results.model_copy(update={**numbers, "per_network": {"convnet": lifted}})
    # Numbers that high have no warning sign.
    parts = {"results": results, "evaluations": evaluations, "warnings": ()}
    changed = record.model_copy(update=parts)

    answer = cli("reproduce", save(tmp_path / "record.json", changed))

    assert answer.returncode == 4, answer.stderr
    assert "FAIL: result (last): the bits differ, though nothing is known" in answer.stdout
    assert "PASS: random real images, convnet: bitwise equal" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "FAIL"


@pytest.mark.parametrize("change", [{"mean": 99.0}, {"std": 40.0}, {"values": (1.0, 2.0)}])
def test_mean_that_its_networks_do_not_give_is_refused(cli, record, tmp_path, change):
    results = record.results
    lifted = results.accuracy.model_copy(update=change)
    changed = results.model_copy(update={"accuracy": lifted})
    path = save(tmp_path / "record.json", record.model_copy(update={"results": changed}))
    answer = cli("reproduce", path)
    assert answer.returncode == 5
    assert "contradicts itself" in answer.stderr
    assert not (tmp_path / "reproductions").exists()


def write_images(folder: Path, seed: int = 0) -> Path:
    """Write a small dataset of image files below `folder`; return `folder`."""
    draw = np.random.default_rng(seed)
    for part, count in (("train", 6), ("test", 3)):
        for name, level in (("dark", 60), ("light", 190)):
            class_folder = folder / "mine" / part / name
            class_folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(draw.normal(level, 20, (8, 8)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(class_folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("key", ["name", "digest"])
def test_plan_whose_name_leaves_the_folder_is_refused(cli, shared, tmp_path, key):
    document = json.loads((shared / "record.json").read_text())
    document["plan"][key] = "../../elsewhere"
    path = tmp_path / "inside" / "record.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    answer = cli("reproduce", path, "--to", tmp_path / "inside" / "to")
    assert answer.returncode == 5
    assert f"plan.{key}" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_record_of_an_unfinished_run_is_refused(cli, record, tmp_path):
    outcome = record.outcome.model_copy(update={"status": "interrupted"})
    path = save(tmp_path / "record.json", record.model_copy(update={"outcome": outcome}))
    answer = cli("reproduce", path)
    assert answer.returncode == 5
    assert "unfinished run: interrupted" in answer.stderr


@pytest.mark.slow
def test_images_that_differ_in_one_pixel_are_refused_by_name(cli, smoke, tmp_path):
    data = write_images(tmp_path / "data")
    text = smoke.read_text().replace('name = "digits"', 'name = "folder"\nroot = "mine"')
    spec = tmp_path / "mine.toml"
    spec.write_text(text.replace("iterations = 12", "iterations = 2"))
    folder = Path(cli("run", spec, "--data", data).stdout.splitlines()[-1])
    assert cli("reproduce", folder / "report.html", "--data", data).returncode == 0

    image = data / "mine" / "train" / "dark" / "3.png"
    pixels = np.array(Image.open(image))
    pixels[4, 4] ^= 1
    Image.fromarray(pixels).save(image)
    answer = cli("reproduce", folder / "report.html", "--data", data)

    assert answer.returncode == 5
    assert "the images of dataset 'folder' differ from those of the record" in answer.stderr
    assert "nothing was run" in answer.stderr


def test_missing_images_are_reported(cli, shared, record, tmp_path):
    text = record.resolved.replace('name = "digits"', 'name = "cifar10"', 1)
    changed = record.model_copy(update={"resolved": text, "spec": text, "overrides": ()})
    answer = cli("reproduce", save(tmp_path / "record.json", changed), "--data", tmp_path)
    assert answer.returncode == 5
    assert "cifar10" in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accuracy", "code", "word"), first_by_default([(99.0, 4, "FAIL"), (20.0, 0, "PASS")])
)
def test_spec_is_compared_with_its_published_numbers(cli, smoke, tmp_path, accuracy, code, word):
    spec = tmp_path / "smoke.toml"
    published = EXPECT.format(accuracy=accuracy)
    if word == "FAIL":
        published = published.replace("30.0", "0.1")
    spec.write_text(smoke.read_text() + published)

    answer = cli("reproduce", spec)

    assert answer.returncode == code, answer.stdout
    assert f"{word}: convnet, last: Invented et al., Table 0" in answer.stdout


@pytest.mark.slow
def test_a_reproduced_run_departs_from_the_spec_like_the_run(cli, smoke, tmp_path):
    spec = tmp_path / "smoke.toml"
    spec.write_text(smoke.read_text() + EXPECT.format(accuracy=20.0))
    options = ("--set", "matching.iterations=2", "--store", tmp_path / "s")
    run = tmp_path / cli("run", spec, *options).stdout.splitlines()[-1]
    record = Record.model_validate_json((run / "record.json").read_bytes())
    (departure,) = record.departures
    assert (departure.key, departure.value, departure.in_spec) == ("matching.iterations", "2", "12")
    assert "Not the published settings:" in (run / "report.html").read_text()

    again = reproduce(run / "record.json", store=tmp_path / "s", to=tmp_path / "again")

    folder = again.folder / "runs" / again.reproduction.folder
    repeated = Record.model_validate_json((folder / "record.json").read_bytes())
    assert repeated.departures == record.departures


def test_file_without_recorded_numbers_is_refused(smoke, shared, record, tmp_path):
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for source, words in (
        (smoke, "names no published number"),
        (tmp_path / "page.html", "no embedded `record`"),
        (tmp_path / "broken.json", "damaged or is not a record"),
        (tmp_path / "bytes.json", "not a text file in UTF-8"),
        (tmp_path / "none.json", "cannot be read"),
        (shared, "is a folder"),
    ):
        with pytest.raises(RecordError, match=words):
            read_shared(source)
    with pytest.raises(SpecError):
        read_shared(tmp_path / "none.toml")
    with pytest.raises(RecordError, match="language version 2"):
        plan = record.plan.model_copy(update={"language": 2})
        read_shared(save(tmp_path / "r.json", record.model_copy(update={"plan": plan})))
    with pytest.raises(RecordError, match="has mistakes"):
        broken = record.model_copy(update={"resolved": record.resolved + "\nx = 1\n"})
        read_shared(save(tmp_path / "r.json", broken))
