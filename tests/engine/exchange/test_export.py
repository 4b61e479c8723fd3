"""The synthetic set in the forms of others: the same numbers, safe names, and one that trains."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ddspec
from ddspec.dsl.diagnostics import RecordError
from ddspec.engine.exchange.data_card import plain
from ddspec.engine.exchange.export import (
    FORMS,
    class_folder,
    export_run,
    fitting_forms,
    public_labels,
    write_image_folders,
)
from ddspec.engine.exchange.synthetic_file import SyntheticSet, read_synthetic_set
from ddspec.reports.pages.run import read_record
from tests.engine.exchange.public_code import (
    read_arrays,
    read_image_folders,
    read_label_table,
    read_pair,
)

TESTS = Path(__file__).parents[2]
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


@pytest.fixture(scope="module")
def soft_run(tmp_path_factory) -> Path:
    """A run with learned labels and whitened images."""
    folder = tmp_path_factory.mktemp("soft")
    return made(folder, "synthetic.labels={name='learned', lr=0.5}", "dataset.zca=true")


@pytest.mark.slow
def test_public_code_reads_the_labels_that_were_taught(run: Path, soft_run: Path, tmp_path: Path):
    for number, folder in enumerate((run, soft_run)):
        out = tmp_path / str(number)
        export_run(folder, read_record(folder), out)
        own = read_arrays(folder / "synthetic.h5")
        images, labels, rate = read_pair(out)
        assert images.numpy().tobytes() == own["images"].tobytes()
        np.testing.assert_allclose(labels.numpy(), own["labels"], rtol=1e-5)
        assert rate == float(own["student_lr"])
        for name in ("synthetic.npz", "synthetic.h5"):
            arrays = read_arrays(out / name)
            assert all(np.array_equal(arrays[key], own[key]) for key in ("images", "labels"))
            assert float(arrays["student_lr"]) == rate


@pytest.mark.slow
def test_soft_labels_of_image_folders_lie_in_a_table(run: Path, soft_run: Path, tmp_path: Path):
    export_run(soft_run, read_record(soft_run), tmp_path / "soft", ("images",))
    pixels, labels, paths = read_image_folders(tmp_path / "soft" / "images")
    own = read_arrays(soft_run / "synthetic.h5")
    assert np.abs(pixels.numpy() - np.clip(own["pixels"], 0, 1)).max() <= 0.5 / 255 + 1e-5
    table = read_label_table(tmp_path / "soft" / "image_labels.csv")
    np.testing.assert_allclose([table[path] for path in paths], own["labels"], rtol=1e-6)
    assert labels.tolist() == list(range(10))

    export_run(run, read_record(run), tmp_path / "hard", ("images",))
    _, labels, _ = read_image_folders(tmp_path / "hard" / "images")
    assert labels.tolist() == read_arrays(run / "synthetic.h5")["labels"].tolist()
    assert not (tmp_path / "hard" / "image_labels.csv").exists()


def test_card_says_what_the_labels_are_and_how_to_read_them(run, soft_run, tmp_path):
    cards = []
    for number, folder in enumerate((run, soft_run)):
        export_run(folder, read_record(folder), tmp_path / str(number))
        cards.append((tmp_path / str(number) / "README.md").read_text())
    hard, soft = cards
    assert "The labels are class numbers;" in hard
    assert "softmax" not in hard
    assert "which are logits: take their softmax" in soft
    assert "`image_labels.csv`: their labels" in soft
    assert "whitened" in soft


def test_zero_probabilities_have_finite_logits():
    labels = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    logits = public_labels(synthetic_set(labels=labels))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.softmax(1), labels)


def synthetic_set(labels: torch.Tensor) -> SyntheticSet:
    return SyntheticSet(torch.zeros(len(labels), 1, 2, 2), labels, 0.01, {}, 0)


@pytest.mark.parametrize("row", [[0.5, 0.2, 0.1], [-0.5, 1.0, 0.5], [float("nan"), 0.5, 0.5]])
def test_labels_that_are_not_probabilities_are_refused(row: list[float]):
    with pytest.raises(RecordError, match="not probabilities"):
        public_labels(synthetic_set(labels=torch.tensor([row])))


def test_default_export_leaves_out_a_form_that_cannot_hold_the_labels():
    probabilities, targets = torch.tensor([[0.25, 0.75]]), torch.tensor([[-0.1, 0.9]])
    assert fitting_forms(synthetic_set(labels=probabilities)) == FORMS
    assert fitting_forms(synthetic_set(labels=targets)) == ("images", "npz", "hdf5")


def test_pixels_that_are_not_numbers_are_refused_as_pictures(run: Path, tmp_path: Path):
    record = read_record(run)
    broken = replace(read_synthetic_set(run, record), images=torch.full((20, 1, 8, 8), np.nan))
    with pytest.raises(RecordError, match="not numbers, which PNG files cannot express"):
        list(write_image_folders(broken, record, tmp_path))


def test_run_without_a_set_is_refused_with_its_outcome(run: Path, tmp_path: Path):
    record = read_record(run)
    outcome = record.outcome.model_copy(update={"status": "diverged"})
    with pytest.raises(RecordError, match=r"no synthetic.h5 .* 'diverged'"):
        export_run(tmp_path, record.model_copy(update={"outcome": outcome}), tmp_path / "out")


def test_folders_are_in_the_order_of_more_than_ten_thousand_classes():
    names = ("x",) * 10_002
    folders = [class_folder(number, names) for number in (999, 1000, 1001, 9999, 10_000, 10_001)]
    assert folders == sorted(folders)


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
