"""The table of what was read counts images by split and files by reason."""

from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.record.record import Record
from ddspec.reports.tables.reading import reading_rows


def test_images_and_files_are_counted(record: Record):
    rows = dict(reading_rows(record))
    assert rows["training images"].startswith("1,347 (133, 136, ")
    assert rows["test images"].startswith("450 (45, 46, ")
    assert rows["read from"] == "invented/"
    assert rows["files"] == "1,800, of which 1,797 are read"
    assert rows["passed over"] == "2 .txt, 1 hidden"


def test_notes_and_arrays_have_no_files(record: Record):
    reading = DataReading(source="set.npz", notes=("labels of 0 to 9", "no masks"))
    rows = reading_rows(record.model_copy(update={"reading": reading}))
    assert rows[2:] == [
        ("read from", "set.npz"),
        ("note", "labels of 0 to 9"),
        ("note", "no masks"),
    ]


def test_many_classes_are_not_counted_one_by_one(record: Record):
    facts = record.dataset.model_copy(update={"train_per_class": (*range(100, 200),)})
    rows = reading_rows(record.model_copy(update={"dataset": facts}))
    assert rows[0] == ("training images", "14,950 (100 to 199 in each class)")


def test_record_that_does_not_say_what_was_read_has_no_table(record: Record):
    assert reading_rows(record.model_copy(update={"reading": None})) == []
