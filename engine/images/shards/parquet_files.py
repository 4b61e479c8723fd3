"""Parquet files of the Hugging Face kind: a column of encoded images and a column of labels.

They are read by pyarrow, which is an extra of ddspec. The names of classes are in the files'
metadata. Images keep the order of their rows.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.draw_split import UNSPLIT
from ddspec.engine.images.layouts import ImageFiles, assign_splits, class_order, with_account
from ddspec.engine.images.listing import Listing
from ddspec.engine.images.open_image import ImageFile
from ddspec.engine.images.shards.image_column import ImageColumn, damaged_shard, import_pyarrow
from ddspec.engine.images.shards.shard_files import (
    Shard,
    check_complete,
    files_beside,
    label_of_shards,
    shards_in,
    states_of_shards,
)

IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "pixel_values", "png", "jpg")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "class_name", "target", "digit", "cls")
"""Usual names of the columns, the one that is taken first."""

BYTES_PER_LABEL = 100


@dataclass(frozen=True)
class Columns:
    """The columns of a file that are read."""

    image: str
    label: str
    names: tuple[str, ...]
    """The classes that labels number; empty if the labels say the classes themselves."""
    others: tuple[str, ...]
    """Columns that are passed over."""


def parquet_files(folder: Path, name: str) -> ImageFiles | None:
    """Return the images of a dataset in parquet files; None if there are none.

    Raises DataError without pyarrow, or if the files are damaged or have no images and labels.
    """
    shards = shards_in(folder / name, ".parquet")
    if not shards:
        return None
    import_pyarrow(shards[0].label)
    label = label_of_shards(name, shards, ".parquet")
    notes = (*check_complete(shards), *files_beside(folder / name, ".parquet"))
    columns = [columns_of(shard) for shard in shards]
    for shard, other in zip(shards, columns, strict=True):
        if other != columns[0]:
            raise DataError(
                f"{shards[0].label} and {shard.label} have other columns or classes",
                hint="keep the files of one dataset",
            )
    chosen = columns[0]
    passed_over: Counter[str] = Counter()
    by_role: dict[int | None, list[ImageFile]] = defaultdict(list)
    column = ImageColumn([(shard.path, shard.label) for shard in shards], chosen.image)
    position = 0
    for number, shard in enumerate(shards):
        for row, class_name in enumerate(labels_of(shard, chosen)):
            position += 1
            if class_name is None:
                passed_over["without a label"] += 1
                continue
            image = ImageFile(
                split=UNSPLIT,
                class_name=class_name,
                file_name=f"{position:012d}",
                label=f"{shard.label}: row {row + 1}",
                size=0,
                read=partial(column.read, number, row),
                position=position,
            )
            by_role[shard.role].append(image)
    images = assign_splits(by_role, passed_over, label)
    state, changed_ns = states_of_shards(shards)
    found = with_account(images, passed_over, [Listing((), Counter(), state, changed_ns, label)])
    used = {image.class_name for image in images}
    classes = tuple(each for each in chosen.names if each in used) or class_order(used)
    image_column, label_column = map(escape_text, (chosen.image, chosen.label))
    note = f"images by column {image_column}, labels by column {label_column}"
    if chosen.others:
        note += f"; columns passed over: {', '.join(map(escape_text, chosen.others))}"
    return ImageFiles(found.files, state, changed_ns, found.account, label, (note, *notes), classes)


def columns_of(shard: Shard) -> Columns:
    """Return the columns of a file; raise DataError if it has no images and labels."""
    pyarrow = import_pyarrow(shard.label)
    try:
        schema = pyarrow.parquet.read_schema(shard.path)
        types = {field.name: field.type for field in schema}
        features = features_in(schema.metadata or {})
    except Exception as error:
        raise damaged_shard(shard.label, error) from error
    images = [name for name, kind in types.items() if holds_images(pyarrow, kind)]
    labels = [name for name, kind in types.items() if holds_labels(pyarrow, kind)]
    image = chosen_column(images, IMAGE_NAMES, features, "Image")
    label = chosen_column(labels, LABEL_NAMES, features, "ClassLabel")
    if image is None or label is None:
        kinds = ", ".join(
            f"{escape_text(name)} ({kind})"[:60] for name, kind in [*types.items()][:8]
        )
        problem = "images" if image is None else "labels"
        candidates = images if image is None else labels
        doubt = f"several columns may hold the {problem}" if candidates else f"no {problem}"
        raise DataError(
            f"{shard.label} has {doubt}; its columns: {kinds or 'none'}",
            hint="name a column of encoded images image, and a column of numbers or names of "
            "classes label; one label for each image is read",
        )
    names = features.get(label, {}).get("names") or ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise damaged_shard(shard.label, ValueError("its names of classes are not texts"))
    if len({*names}) != len(names):
        raise damaged_shard(shard.label, ValueError("two classes have the same name"))
    others = tuple(name for name in types if name not in (image, label))
    return Columns(image, label, tuple(names), others)


def features_in(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return {column: what the metadata of Hugging Face's datasets say of it}."""
    info = json.loads(metadata.get(b"huggingface", b"{}"))
    features = info.get("info", {}).get("features", {})
    return {name: each for name, each in features.items() if isinstance(each, dict)}


def holds_images(pyarrow: Any, kind: Any) -> bool:
    """Return whether a column's type is that of encoded images: bytes, or bytes and a path."""
    types = pyarrow.types
    if types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        return "bytes" in names and is_binary(types, kind.field(names.index("bytes")).type)
    return is_binary(types, kind)


def is_binary(types: Any, kind: Any) -> bool:
    """Return whether a type is one of bytes."""
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def holds_labels(pyarrow: Any, kind: Any) -> bool:
    """Return whether a column's type is that of labels: whole numbers or texts."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def chosen_column(
    candidates: Sequence[str],
    usual: Sequence[str],
    features: Mapping[str, Mapping[str, Any]],
    feature: str,
) -> str | None:
    """Return the column with a usual name, else the only one of a feature, else the only one."""
    marked = [name for name in candidates if features.get(name, {}).get("_type") == feature]
    for names in (marked, candidates):
        for name in usual:
            if name in names:
                return name
        if len(names) == 1:
            return names[0]
    return None


def labels_of(shard: Shard, columns: Columns) -> Iterator[str | None]:
    """Yield the class of each row; None if it has none, which some files write as -1."""
    pyarrow = import_pyarrow(shard.label)
    try:
        with pyarrow.parquet.ParquetFile(shard.path, pre_buffer=False) as file:
            claim(BYTES_PER_LABEL * file.metadata.num_rows, f"reading the labels of {shard.label}")
            for batch in file.iter_batches(65_536, columns=[columns.label], use_threads=False):
                for value in batch.column(0).to_pylist():
                    yield class_of(value, columns, shard)
    except DdspecError:
        raise
    except Exception as error:
        raise damaged_shard(shard.label, error) from error


def class_of(value: int | str | None, columns: Columns, shard: Shard) -> str | None:
    """Return the class that a label means; None if it means none."""
    if value is None or value in (-1, ""):
        return None
    if not columns.names or isinstance(value, str):
        return str(value)
    if not 0 <= value < len(columns.names):
        raise DataError(
            f"{shard.label} has the label {value}, but the names of {len(columns.names)} classes",
            hint="make or download it again",
        )
    return columns.names[value]
