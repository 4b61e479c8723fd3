"""What was read of the dataset: images by split, their source, and the files passed over."""

from ddspec.dsl.record.record import Record

MOST_CLASSES = 20
"""Classes whose images are counted one by one."""


def reading_rows(record: Record) -> list[tuple[str, str]]:
    """Return the rows of the table; none for a record that does not say what was read."""
    reading, data = record.reading, record.dataset
    if reading is None:
        return []
    rows = [
        ("training images", split_words(data.train_count, data.train_per_class)),
        ("test images", split_words(data.test_count, data.test_per_class)),
    ]
    if data.validation_count:
        held = split_words(data.validation_count, data.validation_per_class)
        rows.append(("validation images", held))
    if reading.source:
        rows.append(("read from", reading.source))
    rows += [("note", note) for note in reading.notes]
    if reading.files is not None:
        rows.append(
            ("files", f"{reading.files.files:,}, of which {reading.files.images:,} are read")
        )
        rows.append(("passed over", reading.files.text or "none"))
    return rows


def split_words(count: int, per_class: tuple[int, ...]) -> str:
    """Return the images of a split in words: all of them, and those of its classes."""
    if not per_class:
        return f"{count:,}"
    if len(per_class) <= MOST_CLASSES:
        return f"{count:,} ({', '.join(f'{each:,}' for each in per_class)} by class)"
    return f"{count:,} ({min(per_class):,} to {max(per_class):,} in each class)"
