"""A folder without a split is split by a seeded draw in each class, if the spec asks for it."""

import pytest

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.engine.images.draw_split import positions_to_test_on
from tests.engine.images.samples import members, random_png, source_of, write_folder, write_zip


def class_files(cat=10, ant=5):
    """Return random images of two classes, without a split, as {class/file: bytes}."""
    counts = (("cat", cat), ("ant", ant))
    return {
        f"{name}/{index:03d}.png": random_png(100 * index + count)
        for name, count in counts
        for index in range(count)
    }


def test_share_of_each_class_is_drawn_to_test_on(tmp_path):
    write_folder(tmp_path / "pets", class_files() | {"notes.txt": b"", "loose.png": random_png(0)})
    source = source_of(tmp_path, split=0.2)
    raw = source.read()
    assert raw.train.per_class(2) == (4, 8)
    assert raw.test.per_class(2) == (1, 2)
    note = "20 % of the images of each class were drawn to test on, by split_seed 0"
    assert source.notes == (note,)
    assert source.account.passed_over == {".txt": 1, "outside of class folders": 1}
    images = {image.tobytes() for part in (raw.train, raw.test) for image in part.images}
    assert len(images) == 15


def test_draw_is_the_same_in_every_place_and_another_for_another_seed(tmp_path):
    files = class_files()
    write_folder(tmp_path / "a" / "pets", files)
    write_zip(tmp_path / "b" / "pets.zip", files)
    wrapped = {f"all/{name}": content for name, content in files.items()}
    write_folder(tmp_path / "c" / "pets", wrapped)
    drawn = [source_of(tmp_path / name, split=0.3).read() for name in "abc"]
    assert len({raw.fingerprint for raw in drawn}) == 1
    other = source_of(tmp_path / "a", split=0.3, split_seed=1).read()
    assert other.fingerprint != drawn[0].fingerprint
    signatures = {
        source_of(tmp_path / "a", split=split, split_seed=seed).signature
        for split in (0.2, 0.3)
        for seed in (0, 1)
    }
    assert len(signatures) == 4


def test_positions_do_not_change_between_versions():
    assert sorted(positions_to_test_on(10, "cat", 0.3, 0)) == [4, 5, 6]
    assert sorted(positions_to_test_on(10, "dog", 0.3, 0)) == [1, 6, 8]


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(2, 0.01, 1), (2, 0.9, 1), (10, 0.25, 2), (1000, 0.2, 200)]
)
def test_both_splits_get_an_image(count, share, expected):
    assert len(positions_to_test_on(count, "cat", share, 0)) == expected


def test_class_with_one_image_cannot_be_split(tmp_path):
    write_folder(tmp_path / "pets", class_files(ant=1))
    with pytest.raises(DataError, match='class "ant" has only one image'):
        source_of(tmp_path, split=0.2)


def test_dataset_that_is_split_already_is_not_split_again(tmp_path):
    write_folder(tmp_path / "pets", members())
    with pytest.raises(DataError, match="is split into training and test images already") as caught:
        source_of(tmp_path, split=0.2)
    assert caught.value.hint == "remove dataset.split"


def test_dataset_without_a_split_says_how_to_draw_one(tmp_path):
    write_folder(tmp_path / "pets", class_files())
    with pytest.raises(DataMissing, match="not in a layout that is read") as caught:
        source_of(tmp_path)
    assert "set dataset.split = 0.2" in caught.value.hint


def test_folder_with_the_name_of_a_split_is_not_a_class(tmp_path):
    write_folder(tmp_path / "pets", {"test/0.png": random_png(0), "cat/0.png": random_png(1)})
    with pytest.raises(DataMissing, match="not in a layout that is read"):
        source_of(tmp_path, split=0.2)
