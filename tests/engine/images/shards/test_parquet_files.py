"""Parquet files of the Hugging Face kind give the dataset of class folders."""

import json
import random
import sys

import pytest

from ddspec.dsl.diagnostics import DataError, DataMissing
from tests.engine.images.samples import members, source_of, write_folder

FILES = members(train=40, test=2)
NUMBER = {"ant": 0, "cat": 1}


def test_missing_pyarrow_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets", {"train-00000-of-00001.parquet": b"PAR1"})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"train-00000-of-00001\.parquet is a parquet file"
    ) as caught:
        source_of(tmp_path)
    assert caught.value.hint == "pip install 'ddspec[parquet]'"


def rows_of(split):
    """Return (bytes, class) of the images of a split, in the order of files."""
    found = []
    for name, content in sorted(FILES.items()):
        of, class_name, _ = name.split("/")
        if of == split:
            found.append((content, class_name))
    return found


def features(image, label, names):
    """Return the metadata that Hugging Face's datasets write."""
    kinds = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": kinds}})}


def parquet(
    path,
    rows,
    image="image",
    label="label",
    names=("ant", "cat"),
    as_struct=True,
    group=7,
    **others,
):
    """Write a parquet file; rows are pairs of bytes and a label."""
    pyarrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": content, "path": None} if as_struct else content for content, _ in rows]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {
        image: pyarrow.array(images, kind if as_struct else pyarrow.binary()),
        label: pyarrow.array([each for _, each in rows]),
        **others,
    }
    table = pyarrow.table(columns)
    if names:
        table = table.replace_schema_metadata(features(image, label, list(names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_table(table, path, row_group_size=group)


def numbered(rows):
    return [(content, NUMBER[name]) for content, name in rows]


def two_shards(folder, form="data/{}-{:05}-of-{:05}.parquet", **options):
    """Write the training images in two files and the test images in one."""
    rows = numbered(rows_of("train"))
    parquet(folder / form.format("train", 0, 2), rows[:33], **options)
    parquet(folder / form.format("train", 1, 2), rows[33:], **options)
    parquet(folder / form.format("test", 0, 1), numbered(rows_of("test")), **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image": "img", "label": "fine_label", "coarse_label": [0]},
        {"as_struct": False},
        {"form": "{}/{:04}.parquet"},
        {"form": "plain_text/{}-{:05}-of-{:05}.parquet", "group": 1000},
        {"form": "default/{}/{:04}.parquet", "image": "picture_of_it"},
        {"form": "{}-{:05}-of-{:05}.parquet", "group": 1},
    ],
    ids=str,
)
def test_parquet_files_give_the_dataset_of_class_folders(tmp_path, options):
    write_folder(tmp_path / "plain" / "pets", FILES)
    form = {"form": options["form"]} if "form" in options else {}
    options = {name: value for name, value in options.items() if name != "form"}
    rows = {split: numbered(rows_of(split)) for split in ("train", "test")}
    if "coarse_label" in options:
        for split, name in (("train", "train.parquet"), ("test", "test.parquet")):
            parquet(
                tmp_path / "pets" / name,
                rows[split],
                **{**options, "coarse_label": [0] * len(rows[split])},
            )
    else:
        two_shards(tmp_path / "pets", **form, **options)
    source = source_of(tmp_path)
    raw = source.read()
    assert raw.fingerprint == source_of(tmp_path / "plain").read().fingerprint
    assert raw.class_names == ("ant", "cat")
    assert source.account.model_dump() == {"files": 84, "images": 84, "passed_over": {}}
    image, label = options.get("image", "image"), options.get("label", "label")
    note = f"images by column {image}, labels by column {label}"
    assert source.notes[0].startswith(note)


def test_shuffled_rows_are_read_in_the_order_of_the_file(tmp_path, monkeypatch):
    """Each row is decoded once per pass, however classes are mixed."""
    from ddspec.engine.images.shards.image_column import ImageColumn

    opened = []
    honest = ImageColumn.batches_from
    monkeypatch.setattr(
        ImageColumn, "batches_from", lambda self, *at: opened.append(at) or honest(self, *at)
    )
    rows = 4 * numbered(rows_of("train"))
    random.Random(0).shuffle(rows)
    parquet(tmp_path / "pets" / "train.parquet", rows)
    parquet(tmp_path / "pets" / "test.parquet", numbered(rows_of("test")))
    raw = source_of(tmp_path).read()
    assert raw.train.per_class(2) == (160, 160)
    assert len(opened) == 4  # Two files, for the sizes of images and for their pixels.


def test_order_of_the_class_names_is_that_of_the_metadata_and_texts_are_labels(tmp_path):
    for name, rows, names in (
        ("a", numbered(rows_of("train")), ("zebra", "bear", "unused")),
        ("b", rows_of("train"), ()),
        ("c", [(content, n % 12) for n, (content, _) in enumerate(rows_of("train"))], ()),
    ):
        parquet(tmp_path / name / "pets" / "data.parquet", rows, names=names)
    with pytest.raises(DataMissing, match="has no split"):
        source_of(tmp_path / "a")
    datasets = [source_of(tmp_path / name, split=0.5).read() for name in "abc"]
    assert datasets[0].class_names == ("zebra", "bear")
    assert datasets[1].class_names == ("ant", "cat")
    assert datasets[2].class_names == tuple(map(str, range(12)))


def test_unlabelled_test_images_leave_the_validation_images(tmp_path):
    parquet(tmp_path / "pets" / "train.parquet", numbered(rows_of("train")))
    parquet(tmp_path / "pets" / "test.parquet", [(content, -1) for content, _ in rows_of("test")])
    parquet(tmp_path / "pets" / "validation.parquet", numbered(rows_of("test")))
    write_folder(tmp_path / "pets", {"README.md": b"", ".gitattributes": b""})
    source = source_of(tmp_path)
    assert source.account.passed_over == {"without a label": 4}
    assert source.notes[1:] == ("beside them, passed over: 1 .md, 1 hidden",)
    assert source.read().test.per_class(2) == (2, 2)


def test_shards_that_are_missing_or_do_not_fit_are_refused(tmp_path):
    two_shards(tmp_path / "pets")
    data = tmp_path / "pets" / "data"
    parquet(data / "train-00000-of-00003.parquet", numbered(rows_of("test")))
    with pytest.raises(DataError, match="of 3 files; number 1 is missing"):
        source_of(tmp_path)
    (data / "train-00000-of-00003.parquet").unlink()
    (data / "train-00001-of-00002.parquet").rename(data / "extra.parquet")
    with pytest.raises(DataError, match="1 of 2 files; number 1 is missing"):
        source_of(tmp_path)
    (data / "extra.parquet").unlink()
    parquet(data / "train-00001-of-00002.parquet", numbered(rows_of("test")), names=("cat", "ant"))
    with pytest.raises(DataError, match="have other columns or classes"):
        source_of(tmp_path)


def test_columns_that_cannot_be_told_are_refused_with_their_names(tmp_path):
    rows = numbered(rows_of("test"))
    path = tmp_path / "pets" / "train.parquet"
    parquet(path, rows, label="a", names=(), b=[1] * len(rows))
    with pytest.raises(
        DataError,
        match=r"several columns may hold the labels; its columns: image .*, a \(int64\), b",
    ):
        source_of(tmp_path)
    parquet(path, [(content, [label]) for content, label in rows], names=())
    with pytest.raises(DataError, match="no labels; its columns: image"):
        source_of(tmp_path)
    parquet(path, [(content, 5) for content, _ in rows])
    with pytest.raises(DataError, match="has the label 5, but the names of 2 classes"):
        source_of(tmp_path)
    parquet(path, [(None, label) for _, label in rows])
    with pytest.raises(DataError, match="row 1 has no bytes of an image"):
        source_of(tmp_path, split=0.5).read()
    parquet(path, [(b"no image", label) for _, label in rows])
    with pytest.raises(DataError, match=r"train\.parquet: row \d is not an image"):
        source_of(tmp_path, split=0.5).read()


def test_damaged_files_are_read_or_refused_and_never_crash(tmp_path):
    path = tmp_path / "pets" / "train.parquet"
    parquet(path, numbered(rows_of("train")))
    whole, chance = path.read_bytes(), random.Random(0)
    for content in (b"", b"PAR1", whole[:-20], whole[20:], b"PAR1" + b"\xff" * 40 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train\.parquet is not a readable parquet file"):
            source_of(tmp_path, split=0.5).read()
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged) - 2000, len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            source_of(tmp_path, split=0.5).read()
        except DataError as error:
            assert "pets" in str(error) or "train.parquet" in str(error)
