"""A run whose stored images hold four small ones each, from the spec to the page and back."""

from pathlib import Path

import h5py
import pytest
import torch

import ddspec
from ddspec.engine.exchange.export import export_run
from ddspec.engine.exchange.import_set import SetOptions, import_set
from ddspec.engine.store.store import Store
from ddspec.engine.training.partition import seen_images
from ddspec.verification import verify
from tests.test_imported_sets import SETTINGS, evaluated, made, spec_of


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ddspec.Run:
    return made(tmp_path_factory.mktemp("parts"), *SETTINGS, "synthetic.partition=2")


def shared_set(run: ddspec.Run, store: Path):
    return import_set([run.folder / "synthetic.h5"], SetOptions(dataset="digits"), Store(store))


def test_page_says_what_the_number_of_images_means(run):
    page = (run.folder / "report.html").read_text()
    assert "1 of 2x2 parts" in page
    assert "4 times as many images" in page
    assert "against the same number of whole random real images" in page


def test_verify_finds_no_fault(run):
    findings = list(verify(run.folder))
    assert findings and not [finding for finding in findings if finding.verdict == "fault"]


def test_sets_leave_ddspec_as_networks_see_them(run, tmp_path):
    stored = ddspec.load_set(run.folder)
    assert stored.images.shape == (40, 1, 8, 8)
    assert stored.labels.tolist() == sorted(list(range(10)) * 4)
    export_run(run.folder, run.record, tmp_path, ("npz", "pt", "images"))
    assert torch.equal(ddspec.load_set(tmp_path / "synthetic.npz").images, stored.images)
    assert torch.equal(torch.load(tmp_path / "images_best.pt"), stored.images)
    assert len(list((tmp_path / "images").rglob("*.png"))) == 40


def test_imported_again_it_has_the_accuracies_of_its_run(run, tmp_path):
    described = shared_set(run, tmp_path / "store")
    assert (described.ipc, described.partition) == (4, 2)
    init = f'{{ name = "imported", set = "{described.name}", iteration = {described.iteration} }}'
    spec = spec_of(tmp_path, init)
    spec.write_text(spec.read_text().replace("ipc = 1", "ipc = 4"))
    again = evaluated(tmp_path, spec)
    assert again.record.results.accuracy.values == run.record.results.accuracy.values
    # It is four images on paper, but took the room of one.
    assert "1 of 2x2 parts" in (again.folder / "report.html").read_text()


@pytest.mark.slow
def test_sets_of_parts_and_of_whole_images_are_never_ranked_together(run, tmp_path):
    whole = made(tmp_path, *SETTINGS)
    text = ddspec.compare([run.folder, whole.folder], to=tmp_path / "compare.html").read_text()
    assert "images stored as" in text


def test_file_whose_images_do_not_divide_is_refused(run, tmp_path):
    path = tmp_path / "synthetic.h5"
    path.write_bytes((run.folder / "synthetic.h5").read_bytes())
    for parts in (3, 0, -2, 17):
        with h5py.File(path, "r+") as file:
            file.attrs["partition"] = parts
        with pytest.raises(ddspec.DataError, match="do not divide"):
            ddspec.load_set(path)


def test_seen_images_are_those_of_the_file(run):
    with h5py.File(run.folder / "synthetic.h5") as file:
        stored = torch.from_numpy(file["images"][()])
    assert stored.shape == (10, 1, 8, 8)
    assert torch.equal(seen_images(stored, 2), ddspec.load_set(run.folder).images)
