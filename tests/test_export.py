"""The synthetic set in the forms of others: the same numbers, safe names, and one that trains."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ddspec
from ddspec.dsl.diagnostics import RecordError
from ddspec.engine.exchange.export import FORMS, class_folder, export_run, plain
from ddspec.reports.pages.run import read_record

TESTS = Path(__file__).parent
LEARNED = (
    "augmentation.families=[]",
    "matching.iterations=60",
    "images.lr=10.0",
    "evaluation.repeats=5",
    "evaluation.every=60",
    "evaluation.epochs=150",
    "network.width=16",
)


def made(folder: Path, *overrides: str) -> Path:
    loaded = ddspec.load(TESTS / "smoke.toml", overrides)
    return ddspec.run(ddspec.compile(loaded, store=folder / "store"), runs=folder / "runs").folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("run"), "synthetic.ipc=2")


def test_every_form_holds_the_same_numbers(run: Path, tmp_path: Path):
    paths = export_run(run, read_record(run), tmp_path / "out")
    assert all(path.exists() for path in paths)
    with h5py.File(run / "synthetic.h5") as file:
        images, labels = file["images"][()], file["labels"][()]
        rate, mean, std = file["student_lr"][()], file["mean"][()], file["std"][()]
    with np.load(tmp_path / "out" / "synthetic.npz", allow_pickle=False) as arrays:
        assert arrays["images"].tobytes() == images.tobytes()
        assert arrays["labels"].tolist() == labels.tolist()
        assert float(arrays["student_lr"]) == float(rate)
        assert arrays["class_names"].tolist() == list("0123456789")
    tensors = {
        name: torch.load(tmp_path / "out" / f"{name}_best.pt", weights_only=True)
        for name in ("images", "labels", "lr")
    }
    assert torch.equal(tensors["images"], torch.from_numpy(images))
    assert tensors["labels"].dtype == torch.int64
    assert tensors["labels"].tolist() == [c for c in range(10) for _ in range(2)]
    assert float(tensors["lr"]) == float(rate)
    assert (tmp_path / "out" / "synthetic.h5").read_bytes() == (run / "synthetic.h5").read_bytes()
    png = np.array(Image.open(tmp_path / "out" / "images" / "0003_3" / "00001.png"))
    pixels = np.clip(images[7, 0] * std[0] + mean[0], 0, 1)
    assert np.abs(png / 255 - pixels).max() <= 0.5 / 255 + 1e-6
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"rate {float(rate):.6g}" in card
    assert "color, crop, cutout, scale, rotate" in card


def test_soft_labels_and_whitening_are_handed_on(tmp_path: Path):
    folder = made(tmp_path, "synthetic.labels={name='learned', lr=0.5}", "dataset.zca=true")
    export_run(folder, read_record(folder), tmp_path / "out", ("pt", "npz", "images"))
    labels = torch.load(tmp_path / "out" / "labels_best.pt", weights_only=True)
    assert labels.shape == (10, 10)
    with np.load(tmp_path / "out" / "synthetic.npz") as arrays:
        assert {"zca_mean", "zca_values", "zca_vectors", "zca_epsilon"} <= set(arrays)
    with h5py.File(folder / "synthetic.h5") as file:
        pixels = np.clip(file["pixels"][4, 0], 0, 1)
    png = np.array(Image.open(tmp_path / "out" / "images" / "0004_4" / "00000.png"))
    assert np.abs(png / 255 - pixels).max() <= 0.5 / 255 + 1e-5
    assert "whitened" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "..", "", "a\\b", "<b>", "con\x00", "é" * 300, "a" * 300]
)
def test_a_class_of_any_name_gets_a_folder_of_its_own(name: str):
    folder = class_folder(3, ("", "", "", name))
    assert folder.startswith("0003")
    assert len(folder) <= 65
    assert set(folder) <= set("0123456789_-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_a_strangers_title_is_no_markup_on_the_card():
    assert plain("# [x](javascript:1) <script>\n`a`") == "x javascript:1 script a"


def test_nothing_is_written_over_and_nothing_half_is_left(run: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(RecordError, match="not empty"):
        export_run(run, read_record(run), tmp_path / "out")
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / "synthetic.h5").write_bytes(b"")
    with pytest.raises(RecordError, match="cannot be read"):
        export_run(broken, read_record(broken), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_command_takes_forms_by_name(cli, run: Path, tmp_path: Path):
    answer = cli("export", run, "--as", "pt", "--as", "npz")
    assert answer.returncode == 0, answer.stderr
    names = {Path(line).name for line in answer.stdout.splitlines()}
    tensors = {"images_best.pt", "labels_best.pt", "lr_best.pt"}
    assert names == {"synthetic.npz", "README.md", *tensors}
    refused = cli("export", run, "--as", "zip", "--to", "elsewhere")
    assert refused.returncode == 2
    assert "use one of images, npz, hdf5, pt" in refused.stderr
    assert set(FORMS) == {"images", "npz", "hdf5", "pt"}


def trained_by_hand(folder: Path, seed: int) -> float:
    """MTT's protocol as its papers describe it, out of the exported more than tensors."""
    from ddspec.engine.images.sources.find_images import (
        find_source,  # For the images and their split alone.
    )

    spec = ddspec.load(TESTS / "smoke.toml").spec
    raw = find_source(spec.dataset, Path(), False).read()
    with np.load(folder / "synthetic.npz") as arrays:
        mean, std = float(arrays["mean"][0]), float(arrays["std"][0])
    tests = (torch.from_numpy(raw.test.images).float() / raw.white - mean) / std
    truth = torch.from_numpy(raw.test.labels).long()
    images = torch.load(folder / "images_best.pt", weights_only=True)
    labels = torch.load(folder / "labels_best.pt", weights_only=True)
    rate = float(torch.load(folder / "lr_best.pt", weights_only=True))
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(16, 16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )

    def optimiser(lr: float) -> torch.optim.SGD:
        return torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)

    descent, epochs = optimiser(rate), 150
    for epoch in range(epochs):
        if epoch == (epochs - 1) // 2 + 2:
            descent = optimiser(rate / 10)
        for batch in torch.randperm(len(labels)).split(256):
            descent.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            descent.step()
    with torch.no_grad():
        return 100 * float((network(tests).argmax(1) == truth).float().mean())


@pytest.mark.slow
def test_an_independent_training_loop_gets_the_recorded_accuracy(tmp_path: Path):
    overrides = [option for option in LEARNED if not option.startswith("images.")]
    folder = made(tmp_path, *overrides)
    record = read_record(folder)
    export_run(folder, record, tmp_path / "out", ("pt", "npz"))
    recorded = record.results.accuracy
    assert recorded is not None and recorded.mean > 40
    values = [trained_by_hand(tmp_path / "out", seed) for seed in range(10)]
    mean, std = float(np.mean(values)), float(np.std(values))
    error = (std**2 / 9 + recorded.std**2 / (recorded.n - 1)) ** 0.5
    assert abs(mean - recorded.mean) < 3 * error
