"""Archives that only wait to be unpacked are unpacked whole, inside of their folder, or refused."""

import gzip
import io
import os
import tarfile

import pytest

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.dsl.facts import class_names
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import FOLDER, members, write_folder


def write_tar(path, files, mode="w:gz"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("suffix", [".tgz", ".tar.gz", ".tar", ".tar.bz2", ".tar.xz"])
def test_archive_is_unpacked_by_a_run_and_not_by_a_plan(tmp_path, suffix):
    mode = {".tar": "w", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}.get(suffix, "w:gz")
    write_tar(tmp_path / f"pets{suffix}", members(), mode)
    write_folder(tmp_path / "expected" / "pets", members())
    with pytest.raises(DataMissing, match="but not unpacked") as caught:
        find_source(FOLDER, tmp_path, fetch=False)
    assert caught.value.hint == "unpack it to pets/, as ddspec run does"
    assert not (tmp_path / "pets").exists()
    source = find_source(FOLDER, tmp_path, fetch=True)
    assert source.notes == (f"pets{suffix} was unpacked to pets/",)
    expected = find_source(FOLDER, tmp_path / "expected", fetch=False).read()
    assert source.read().fingerprint == expected.fingerprint
    assert find_source(FOLDER, tmp_path, fetch=False).read().fingerprint == expected.fingerprint


def test_archive_of_fastai_is_read_under_the_name_of_the_subset(tmp_path):
    files = members(tuple(class_names.IMAGENET["imagenette"]), 2, 1, size=(20, 20))
    write_tar(
        tmp_path / "imagenette2-160.tgz", {f"imagenette2-160/{k}": v for k, v in files.items()}
    )
    dataset = Dataset(name="imagenette", resolution=16)
    assert find_source(dataset, tmp_path, fetch=True).label == "imagenette2-160/"
    assert len(find_source(dataset, tmp_path, fetch=False).read().train.labels) == 20


def test_nothing_is_written_out_of_the_folder(tmp_path):
    data = tmp_path / "data"
    for name in ("../out.png", "train/../../out.png"):
        write_tar(data / "pets.tgz", members() | {name: b"x"})
        with pytest.raises(DataError, match=r"pets\.tgz cannot be unpacked"):
            find_source(FOLDER, data, fetch=True)
        assert [path.name for path in data.iterdir()] == ["pets.tgz"]
        assert not (tmp_path / "out.png").exists()


def test_links_and_devices_in_an_archive_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"train/cat/{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, content in members().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    source = find_source(FOLDER, tmp_path, fetch=True)
    assert source.account.files == source.account.images == 10


def test_damaged_archive_leaves_no_folder_behind(tmp_path):
    write_tar(tmp_path / "pets.tgz", members())
    whole = (tmp_path / "pets.tgz").read_bytes()
    tar = gzip.decompress(whole)
    odd_header = tar[:1024] + b"x" * 512 + tar[1536:]
    cut = (gzip.compress(tar[:length]) for length in (1000, 1024))
    for content in (b"", b"<!doctype html>", whole[:200], *cut, gzip.compress(odd_header)):
        (tmp_path / "pets.tgz").write_bytes(content)
        with pytest.raises(DataError, match=r"pets\.tgz cannot be unpacked") as caught:
            find_source(FOLDER, tmp_path, fetch=True)
        assert caught.value.hint == "make or download it again"
        assert os.listdir(tmp_path) == ["pets.tgz"]  # noqa: PTH208


def test_long_names_take_no_memory(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    (tmp_path / "pets.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match="a header is too long"):
        find_source(FOLDER, tmp_path, fetch=True)


def test_archive_that_is_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    write_tar(tmp_path / "pets.tgz", members())
    monkeypatch.setattr("ddspec.engine.images.sources.unpack.KEPT_FREE", 10**18)
    with pytest.raises(DataError, match="too large to be unpacked"):
        find_source(FOLDER, tmp_path, fetch=True)
    assert not (tmp_path / "pets").exists()
