"""A folder of a hundred awkward files is read with an account that adds up."""

import random
from collections import Counter

import pytest

from ddspec.dsl.diagnostics import DataError
from tests.engine.images.awkward import READ, REFUSED, awkward_files, damaged_files, encoded
from tests.engine.images.samples import members, source_of, write_folder, write_zip
from tests.in_slow_run import first_by_default

DAMAGED = damaged_files()


def written(folder, kind, files):
    """Write a dataset with these files in one class, as a folder or as a zip file."""
    everything = members() | {f"train/cat/{name}": content for name, content in files.items()}
    if kind == "zip":
        write_zip(folder / "pets.zip", everything)
    else:
        write_folder(folder / "pets", everything)
    return source_of(folder, resolution=8, alpha="white")


@pytest.mark.parametrize("kind", first_by_default(["folder", "zip"]))
def test_account_of_a_hundred_awkward_files_adds_up(tmp_path, kind):
    files = awkward_files()
    assert len(files) >= 100
    fates = Counter(fate for _, fate in files.values())
    whole = {name: content for name, (content, fate) in files.items() if fate != REFUSED}
    source = written(tmp_path, kind, whole)
    passed_over = {fate: n for fate, n in fates.items() if fate not in (READ, REFUSED)}
    assert source.account.passed_over == passed_over
    assert source.account.images == len(members()) + fates[READ]
    assert source.account.files == len(members()) + len(files) - fates[REFUSED]
    assert source.read().train.per_class(2) == (3, 3 + fates[READ])


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_refused_by_its_name(tmp_path, kind, name):
    source = written(tmp_path, kind, {name: DAMAGED[name]})
    with pytest.raises(DataError) as caught:
        source.read()
    assert f"train/cat/{name}" in str(caught.value) and caught.value.hint


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "kind",
    first_by_default(
        ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA", "JPEG2000", "DDS"], 3
    ),
)
def test_random_damage_is_read_or_refused_and_never_crashes(tmp_path, kind):
    chance, content = random.Random(kind), encoded(kind, size=(16, 16))
    suffix = {"JPEG2000": "jp2"}.get(kind, kind.lower())
    for _ in range(12):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            written(tmp_path, "folder", {f"x.{suffix}": bytes(damaged)}).read()
        except DataError as error:
            assert "train/cat/x." in str(error)
