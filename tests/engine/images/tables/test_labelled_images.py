"""Images with a table of labels are those of class folders; what does not fit is said."""

import pytest

from ddspec.dsl.diagnostics import DataError, DataMissing
from tests.engine.images.samples import members, random_png, source_of, write_folder, write_zip

NUMBER = {"cat": 1, "ant": 0}
FILES = members()


def names_of(split):
    """Return {flat file name: (class, content)} of the images of a split."""
    found = {}
    for name, content in FILES.items():
        of, label, file = name.split("/")
        if of == split:
            found[f"{label}-{split}{file}"] = (label, content)
    return found


TRAIN, TEST = names_of("train"), names_of("test")


def table(rows, header="filename,label", separator=","):
    """Return a table as bytes; rows are sequences of cells."""
    lines = [header.replace(",", separator), *(separator.join(row) for row in rows)]
    return "\n".join(lines).encode()


def rows_of(images, name=lambda file: file, label=lambda text: text):
    return [(name(file), label(text)) for file, (text, _) in images.items()]


def in_folder(images, folder):
    return {f"{folder}{file}": content for file, (_, content) in images.items()}


def without_suffix(file):
    return file.removesuffix(".png")


def layouts():
    """Return {case: files} of one dataset with its labels in tables."""
    both = {**TRAIN, **TEST}
    flat = in_folder(both, "images/")
    split = [(f, t, "train" if f in TRAIN else "test") for f, t in rows_of(both)]
    separate = in_folder(TRAIN, "train/") | in_folder(TEST, "test/")
    two = {"train.csv": table(rows_of(TRAIN)), "test.csv": table(rows_of(TEST))}
    kaggle = [table(rows_of(x, without_suffix), "id,label") for x in (TRAIN, TEST)]
    return {
        "a table per split": separate | two,
        "tables in the folders of the splits": separate
        | {f"{split}/labels.csv": content for split, content in zip(("train", "test"), two.values(), strict=True)},
        "ids without suffix": separate | {"trainLabels.csv": kaggle[0], "test_labels.csv": kaggle[1]},
        "a column of splits": flat | {"labels.csv": table(split, "image,class,split")},
        "capital letters": flat | {"labels.csv": table(split, "Image Path,Class Name,Split")},
        "other column": flat | {"labels.csv": table(split, "id_code,diagnosis,Usage")},
        "tsv": flat | {"labels.tsv": table(split, "file_name,label,set", "\t")},
        "semicolons and BOM": flat
        | {"labels.csv": b"\xef\xbb\xbf" + table(split, "file,label,split", ";")},
        "utf-16": flat | {"l.csv": table(split, "file,label,split").decode().encode("utf-16")},
        "folders of the splits alone": separate | {"labels.csv": table(rows_of(both))},
        "paths": separate
        | {"l.csv": table([(f"{'train' if f in TRAIN else 'test'}\\{f}", t) for f, t in rows_of(both)], "path,label")},
        "no header": separate | {name: table(rows_of(x)[1:], ",".join(rows_of(x)[0])) for name, x in (("train.csv", TRAIN), ("test.csv", TEST))},
        "wrapped": {f"wrap/{name}": content for name, content in (separate | two).items()},
        "names and numbers": flat
        | {"l.csv": table([(f, str(NUMBER[t]), t, s) for f, t, s in split], "file,label,class_name,split")},
        "other columns": flat
        | {"l.csv": table([(f, "7", t, s, f[::-1]) for f, t, s in split], "file,width,label,split,note")},
        "folders named by words": in_folder(TRAIN, "train_images/") | in_folder(TEST, "test_images/") | two,
    }  # fmt: skip


LAYOUTS = layouts()


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("case", LAYOUTS)
def test_tables_give_the_dataset_of_class_folders(tmp_path, case, kind):
    write_folder(tmp_path / "plain" / "pets", FILES)
    expected = source_of(tmp_path / "plain").read()
    if kind == "zip":
        write_zip(tmp_path / "pets.zip", LAYOUTS[case])
    else:
        write_folder(tmp_path / "pets", LAYOUTS[case])
    source = source_of(tmp_path)
    raw = source.read()
    assert raw.fingerprint == expected.fingerprint
    assert raw.class_names == ("ant", "cat")
    assert source.account.model_dump() == {"files": 10, "images": 10, "passed_over": {}}
    assert source.notes[0].startswith("labels of ")


def test_table_beside_the_folder_is_read_and_its_change_is_noticed(tmp_path):
    write_folder(tmp_path / "pets", in_folder(TRAIN, "train/") | in_folder(TEST, "test/"))
    (tmp_path / "pets.csv").write_bytes(table(rows_of({**TRAIN, **TEST})))
    first = source_of(tmp_path)
    assert first.read().train.per_class(2) == (3, 3)
    assert first.account.passed_over == {}
    swapped = {"cat": "ant", "ant": "cat"}
    (tmp_path / "pets.csv").write_bytes(table(rows_of({**TRAIN, **TEST}, label=swapped.get)))
    second = source_of(tmp_path)
    assert second.signature != first.signature
    assert second.read().fingerprint != first.read().fingerprint


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path):
    files = {f"{n}.png": random_png(n) for n in range(24)}
    labels = [(f"{n}.png", f"{n % 12}.0" if n % 2 else f" {n % 12} ") for n in range(24)]
    write_folder(tmp_path / "pets", files | {"labels.csv": table(labels)})
    raw = source_of(tmp_path, split=0.5).read()
    assert raw.class_names == tuple(map(str, range(12)))


def test_labels_of_a_contest_need_a_split_and_its_example_answer_is_no_label(tmp_path):
    files = in_folder(TRAIN, "train/") | in_folder(TEST, "test/")
    files["train.csv"] = table(rows_of(TRAIN, without_suffix), "id,breed")
    files["test.csv"] = table([(without_suffix(f),) for f in TEST], "id")
    files["sample_submission.csv"] = table([(without_suffix(f), "ant") for f in TEST], "id,breed")
    write_folder(tmp_path / "pets", files)
    with pytest.raises(DataMissing, match="has no split") as caught:
        source_of(tmp_path)
    assert "dataset.split = 0.2" in caught.value.hint
    source = source_of(tmp_path, split=0.34)
    assert source.account.passed_over == {".csv": 2, "without a label": 4}
    assert "passed over: test.csv: it has no column of labels" in source.notes
    assert "passed over: sample_submission.csv: its labels are an example" in source.notes
    assert source.read().train.per_class(2) == (2, 2)


def test_training_table_never_labels_test_images(tmp_path):
    files = in_folder(TRAIN, "train/") | {"test/9.png": random_png(9)}
    rows = [*rows_of(TRAIN), ("9", "cat")]
    write_folder(tmp_path / "pets", files | {"train.csv": table(rows)})
    source = source_of(tmp_path, split=0.34)
    assert source.account.passed_over == {"without a label": 1}
    assert "1 row of train.csv names a file that is missing: 9" in source.notes


def test_rows_and_files_that_are_left_over_are_counted(tmp_path):
    files = in_folder({**TRAIN, **TEST}, "images/") | {"images/more.png": random_png(3)}
    rows = [
        *rows_of({**TRAIN, **TEST}),
        ("gone.png", "cat"),
        ("lost.png", "cat"),
        ("", "ant"),
        ("../x", "ant"),
    ]
    rows += [rows[0], ("more.png", " ")]
    write_folder(tmp_path / "pets", files | {"labels.csv": table(rows) + b"\n\n"})
    source = source_of(tmp_path, split=0.4)
    assert source.account.model_dump() == {
        "files": 11, "images": 10, "passed_over": {"without a label": 1}
    }  # fmt: skip
    assert source.notes[1:4] == (
        "4 rows of labels.csv name a file that is missing: gone.png",
        "1 row of labels.csv repeats another: cat-train000.png",
        "1 row of labels.csv has no label: more.png",
    )
    assert source.read().train.labels.tolist() == [0, 0, 0, 1, 1, 1]


REFUSED = {
    "two labels": ([*rows_of(TRAIN), ("cat-train000", "ant")], "file,label", "line 2 .* and line 8 .* two labels"),
    "ragged": ([*rows_of(TRAIN), ("a", "b", "c")], "file,label", "line 8 of labels.csv has 3 cells"),
    "quote": ([*rows_of(TRAIN), ('"a', "b")], "file,label", "labels.csv is not a table: line"),
    "one-hot": ([(f, t, t[::-1], f[0]) for f, t in zip(TRAIN, "011010", strict=True)], "image,MEL,NV,BCC", "3 of its columns may be the labels, MEL, NV, BCC"),
    "two labels in columns": ([(f, t, f[-5]) for f, (t, _) in TRAIN.items()], "file,label,class", "may be the labels"),
    "no labels": ([(f,) for f in TRAIN], "file", "no column of labels"),
    "other files": ([(f + "x", "cat") for f in TRAIN], "file,label", "no name in its column file is that of an image"),
    "odd split": ([(f, "cat", "2") for f in TRAIN], "file,label,split", 'line 2 of labels.csv has the split "2"'),
    "two splits": ([("cat-train000", "cat", "train"), ("cat-train000", "cat", "test")], "file,label,split", "two splits"),
    "only test": ([(f, t, "test") for f, t in rows_of(TRAIN)], "file,label,split", "images of the test split only"),
    "empty": ([], "", "labels.csv is empty"),
    "no rows": ([], "file,label", "it has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_tables_are_refused_in_words(tmp_path, case):
    rows, header, words = REFUSED[case]
    write_folder(
        tmp_path / "pets", in_folder(TRAIN, "images/") | {"labels.csv": table(rows, header)}
    )
    with pytest.raises(DataError, match=words):
        source_of(tmp_path, split=0.4)


def test_name_that_may_be_two_files_is_refused(tmp_path):
    files = {"a/0.png": random_png(0), "b/0.png": random_png(1), "c/1.png": random_png(2)}
    write_folder(tmp_path / "pets", files | {"labels.csv": table([("0.png", "x"), ("1.png", "y")])})
    with pytest.raises(DataError, match=r"names 0\.png, which may be a/0\.png or b/0\.png"):
        source_of(tmp_path)


def test_labels_that_are_not_utf8_are_refused_and_such_file_names_read(tmp_path):
    write_folder(tmp_path / "pets", {"caf\udce9.png": random_png(0), "1.png": random_png(1)})
    rows = b"file,label\ncaf\xe9.png,x\n1.png,%b\n"
    (tmp_path / "pets" / "labels.csv").write_bytes(rows % b"y\xe9")
    with pytest.raises(DataError, match=r"the label y\\xe9 in line 3 .* is not UTF-8"):
        source_of(tmp_path)
    (tmp_path / "pets" / "labels.csv").write_bytes(rows % b"y")
    with pytest.raises(DataMissing, match="has no split"):
        source_of(tmp_path)


def test_class_folders_are_read_whatever_tables_lie_beside_them(tmp_path):
    write_folder(tmp_path / "plain" / "pets", FILES)
    write_folder(tmp_path / "pets", FILES | {"labels.csv": b"file,label\nx,y,z"})
    source = source_of(tmp_path)
    assert source.account.passed_over == {".csv": 1}
    assert source.read().fingerprint == source_of(tmp_path / "plain").read().fingerprint
