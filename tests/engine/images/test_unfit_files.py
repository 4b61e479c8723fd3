"""A pipe, device, folder or looping link in place of a dataset's file ends in words at once."""

import shutil

import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import FOLDER, members, random_png, write_folder, write_zip
from tests.engine.images.shards.test_tar_shards import LAYOUTS
from tests.engine.images.sources.test_arrays import stl10_files
from tests.test_hostile import make_unfit

KINDS = ("pipe", "folder", "device", "loop")
FLAT = {f"{n}.png": random_png(n) for n in range(4)}
TABLE = {"labels.csv": b"file,label\n" + b"".join(b"%d.png,%d\n" % (n, n % 2) for n in range(4))}
STL10 = {**stl10_files(), "class_names.txt": b"airplane"}
SHARDS = LAYOUTS["names beside"]
OTHERS = {"svhn": "svhn", "MNIST": "mnist", "cifar": "cifar10", "tiny": "tiny_imagenet"}

PLACES = {
    "pets": {},
    "pets.zip": {},
    "pets.npz": {},
    "pets.tar": {},
    "pets.tar.gz": {},
    "pets.tsv": FLAT,
    "pets/labels.csv": FLAT | TABLE,
    "pets/set.npz": {},
    "pets/train-00.zip": {},
    "pets/train/0.tar": SHARDS,
    "pets/classnames.txt": SHARDS,
    "pets/train-00000-of-00001.parquet": {},
    "pets/train_X.bin": STL10,
    "pets/test_y.bin": STL10,
    "pets/class_names.txt": STL10,
    "pets/train": members(),
    "pets/train/cat": members(),
    "svhn/train_32x32.mat": {},
    "MNIST/raw/train-images-idx3-ubyte": {},
    "MNIST/raw/t10k-labels-idx1-ubyte.gz": {},
    "cifar-10-python.tar.gz": {},
    "cifar-10-batches-py": {},
    "tiny_imagenet.zip": {},
    "tiny-imagenet-200.zip": {},
    "tiny-imagenet-200": {},
    "tiny-imagenet-200/val/val_annotations.txt": {},
}
"""The file or folder that is unfit, and the others in the folder `pets`."""


def source_with_unfit(tmp_path, place, kind, files):
    """Put something unfit at a place in a dataset of these files, and find the dataset."""
    write_folder(tmp_path / "pets" if files else tmp_path, files)
    if place.endswith("-00.zip"):
        write_zip(tmp_path / "pets" / "test-00.zip", {"cat/0.png": random_png(0)})
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make_unfit(path, kind)
    name = next((name for start, name in OTHERS.items() if place.startswith(start)), None)
    return find_source(Dataset(name=name) if name else FOLDER, tmp_path, fetch=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_unfit_file_of_a_dataset_ends_in_words(tmp_path, place, kind, no_hang):
    with no_hang(f"{kind} {place}"), pytest.raises(DataError) as caught:
        source_with_unfit(tmp_path, place, kind, PLACES[place]).read()
    # A folder where a file is expected may look as if the file were missing.
    if kind != "folder" and place.endswith((".zip", ".npz", ".tar", ".csv", ".tsv", ".parquet")):
        words = {"pipe": "it is a pipe", "device": "it is a device", "loop": "leads to itself"}
        assert words[kind] in str(caught.value)
        assert place.rpartition("/")[2] in str(caught.value)


@pytest.mark.parametrize("name", ["000.png", "more.jpg", "without_suffix"])
@pytest.mark.parametrize("kind", KINDS)
def test_unfit_image_is_counted_or_refused(tmp_path, name, kind, no_hang):
    """Folders in the folder of a class hold images; a link of an image has to lead to one."""
    place = f"pets/train/cat/{name}"
    left = len(members()) - (name == "000.png")
    with no_hang(f"{kind} {place}"):
        if kind == "loop" and name != "without_suffix":
            with pytest.raises(DataError, match=rf"train/cat/{name} cannot be read"):
                source_with_unfit(tmp_path, place, kind, members())
            return
        source = source_with_unfit(tmp_path, place, kind, members())
    reasons = {"loop": {"broken links": 1}, "folder": {}}
    assert source.account.passed_over == reasons.get(kind, {"not regular files": 1})
    assert source.account.images == left
