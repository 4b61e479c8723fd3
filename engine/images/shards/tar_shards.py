"""Tar shards of the webdataset kind: members KEY.jpg with their labels KEY.cls or KEY.json.

A shard is gone through once for the places of its members; images are then read from there.
Nothing is unpacked to disk.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import is_there, open_regular_file, read_regular_file
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.draw_split import UNSPLIT
from ddspec.engine.images.image_formats import (
    WITHOUT_SUFFIX,
    is_hidden,
    reason_to_pass_over,
    suffix_of,
)
from ddspec.engine.images.layouts import ImageFiles, assign_splits, class_order, with_account
from ddspec.engine.images.listing import Listing, unreadable
from ddspec.engine.images.open_image import ImageFile
from ddspec.engine.images.shards.shard_files import (
    Shard,
    check_complete,
    files_beside,
    label_of_shards,
    paths_below,
    shards_in,
    states_of_shards,
)
from ddspec.engine.images.tar_files import damaged, members_of, open_tar

LABEL_SUFFIXES = ("cls", "cls.txt", "class", "class.txt", "label", "label.txt", "json")
"""What follows the key in the name of a label, the one that is taken first."""

JSON_NAMES = (
    "label",
    "cls",
    "class",
    "target",
    "class_name",
    "classname",
    "label_name",
    "category",
)
"""Names of the label in the JSON object of a sample, the one that is taken first."""

CLASS_NAMES = ("classnames.txt", "classes.txt")
"""Files with the names of classes that labels number, one on each line."""

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MAX_LABEL_BYTES = 2**20
MAX_MEMBERS = 5_000_000


@dataclass(frozen=True)
class Member:
    """A member of a shard: where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass
class Sample:
    """The members of a shard that have one key."""

    images: list[Member] = field(default_factory=list)
    labels: dict[str, str | None] = field(default_factory=dict)
    """{what follows the key: the label; None if it has none}"""

    @property
    def label(self) -> str | None:
        """The label; None if the sample has none."""
        found = (self.labels.get(suffix) for suffix in LABEL_SUFFIXES)
        return next((label for label in found if label), None)


def tar_shards(folder: Path, name: str) -> ImageFiles | None:
    """Return the images of a dataset in tar shards; None if there are none.

    Raises DataError if they are compressed, damaged or have no labels.
    """
    base = folder / name
    shards = shards_in(base, ".tar")
    if not shards:
        packed = [path for suffix in COMPRESSED for path in paths_below(base, suffix)]
        if packed:
            raise DataError(
                f"{escape_text(name)}/ has compressed tar files: {escape_text(packed[0].name)}",
                hint="decompress them, for example by gunzip; shards are read uncompressed",
            )
        return None
    notes = check_complete(shards)
    passed_over: Counter[str] = Counter()
    by_role: dict[int | None, list[ImageFile]] = defaultdict(list)
    names, names_file = named_classes(base)
    names_note = tuple(f"names of classes from {each}" for each in names_file)
    count = position = 0
    for shard in shards:
        samples = samples_of(shard, passed_over, MAX_MEMBERS - count)
        count += sum(len(sample.images) for sample in samples.values())
        for key, sample in samples.items():
            image = image_of(sample, shard, key, passed_over, names)
            if image is not None:
                by_role[shard.role].append(replace(image, position=position))
                position += 1
    label = label_of_shards(name, shards, ".tar")
    if not any(by_role.values()):
        raise DataError(
            f"{label} has no image with a label; passed over: "
            f"{', '.join(f'{n:,} {reason}' for reason, n in passed_over.items()) or 'nothing'}",
            hint="a sample is KEY.jpg with KEY.cls, which has the number or name of its class, or "
            "with KEY.json, in which it is called label; unpack archives of class folders to "
            f"{escape_text(name)}/train/CLASS/FILE, and remove those that are not the dataset",
        )
    images = assign_splits(by_role, passed_over, label)
    state, changed_ns = states_of_shards(shards)
    listing = Listing((), passed_over, [*state, *names], changed_ns, label)
    found = with_account(images, passed_over, [listing])
    used = {image.class_name for image in images}
    classes = tuple(each for each in names if each in used) or class_order(used)
    return ImageFiles(
        found.files,
        found.state,
        changed_ns,
        found.account,
        label,
        (*notes, *names_note, *files_beside(base, ".tar", names_file)),
        classes,
    )


def named_classes(base: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of classes in a file beside the shards, and its name; empty without one."""
    for name in CLASS_NAMES:
        path = base / name
        if is_there(path):
            try:
                content = read_regular_file(path, MAX_LABEL_BYTES)
            except OSError as error:
                raise unreadable(name, error) from error
            lines = as_text(content, name).splitlines()
            names = tuple(line.strip() for line in lines if line.strip())
            if len({*names}) != len(names):
                raise DataError(f"{name} names a class twice", hint="one line for each class")
            return names, (name,)
    return (), ()


def samples_of(shard: Shard, passed_over: Counter[str], most: int) -> dict[str, Sample]:
    """Return {key: sample} of a shard; other members are counted by the reason.

    Raises DataError if it is damaged, or has more than `most` members.
    """
    samples: dict[str, Sample] = defaultdict(Sample)
    check_uncompressed(shard)
    with open_tar(shard.path, mode="r:") as archive:
        for number, info in enumerate(members_of(archive)):
            if number >= most:
                raise DataError(f"{shard.label}: more than {MAX_MEMBERS:,} images are not read")
            reason = reason_against(info.name, info.isreg() and not info.issparse())
            if info.isdir():
                continue
            if reason is not None:
                passed_over[reason] += 1
                continue
            if info.offset_data + info.size > shard.size:
                raise damaged(shard.label, "read", ValueError("its end is missing"))
            key, kind = key_and_kind(info.name)
            member = Member(info.name, info.offset_data, info.size)
            if kind in LABEL_SUFFIXES:
                if kind in samples[key].labels:
                    raise DataError(f"{member_label(shard, info.name)} is in the shard twice")
                if info.size > MAX_LABEL_BYTES:
                    raise DataError(
                        f"{member_label(shard, info.name)} has {info.size:,} bytes; of a label "
                        f"at most {MAX_LABEL_BYTES:,} are read"
                    )
                content = archive.extractfile(info)
                text = content.read() if content else b""
                samples[key].labels[kind] = label_in(text, kind, shard, info.name)
            else:
                samples[key].images.append(member)
    return samples


def check_uncompressed(shard: Shard) -> None:
    """Raise DataError if a shard is compressed, so that its members have no place in it."""
    with open_regular_file(shard.path) as descriptor:
        head = os.read(descriptor, 6)
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise DataError(
            f"{shard.label} is compressed",
            hint="decompress it, for example by gunzip; shards are read uncompressed",
        )


def reason_against(name: str, is_regular: bool) -> str | None:
    """Return why a member is neither an image nor a label; None if it may be one."""
    parts = name.removeprefix("./").split("/")
    if not is_regular:
        return "not regular files"
    if {"", ".."} & {*parts}:
        return "with unsafe names"
    if key_and_kind(name)[1] in LABEL_SUFFIXES and not is_hidden(parts):
        return None
    return reason_to_pass_over(parts) or (None if suffix_of(name) else WITHOUT_SUFFIX)


def key_and_kind(name: str) -> tuple[str, str]:
    """Return the key of a member, which ends at the first dot of its file name, and the rest."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    key, _, kind = file.partition(".")
    return folder + slash + key, kind.lower()


def member_label(shard: Shard, name: str) -> str:
    """Return a member's name in messages."""
    return f"{shard.label}: {escape_text(name)}"


def image_of(
    sample: Sample, shard: Shard, key: str, passed_over: Counter[str], names: Sequence[str]
) -> ImageFile | None:
    """Return the image of a sample; None if it has none or no label, which is counted.

    Of several images, such as x.jpg and x.mask.png, the one without a second suffix is taken.
    """
    label = sample.label
    if not sample.images:
        passed_over["labels without an image"] += len(sample.labels)
        return None
    if label is None:
        passed_over["without a label"] += len(sample.images) + len(sample.labels)
        return None
    plain = [each for each in sample.images if "." not in key_and_kind(each.name)[1]]
    chosen = plain if plain else sample.images
    if len(chosen) > 1:
        listed = " and ".join(escape_text(each.name) for each in chosen[:2])
        raise DataError(
            f"{shard.label}: {listed} are two images of one sample",
            hint="give each image a key of its own, the name up to its first dot",
        )
    if len(sample.images) > 1:
        passed_over["more images of a sample"] += len(sample.images) - 1
    if names:
        if not label.isdecimal() or int(label[:9]) >= len(names):
            raise DataError(
                f"{member_label(shard, key)} has the label {escape_text(label)}, but the file of "
                f"the names of classes has {len(names)} lines: 0 to {len(names) - 1}",
                hint="place the file of this dataset, or remove it",
            )
        label = names[int(label)]
    image = chosen[0]
    return ImageFile(
        UNSPLIT,
        label,
        image.name,
        member_label(shard, image.name),
        image.size,
        partial(read_part, shard, image),
    )


def read_part(shard: Shard, member: Member) -> bytes:
    """Return the content of a member; raise DataError if it cannot be read."""
    label = member_label(shard, member.name)
    try:
        with (
            open_regular_file(shard.path) as descriptor,
            open(descriptor, "rb", closefd=False) as stream,
        ):
            stream.seek(member.offset)
            content = stream.read(member.size)
    except OSError as error:
        raise unreadable(label, error) from error
    if len(content) != member.size:
        raise DataError(f"{label} is cut off", hint="make or download the shard again")
    return content


def as_text(content: bytes, label: str) -> str:
    """Return the text of a file; raise DataError if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{label} is not a text in UTF-8") from error


def label_in(content: bytes, kind: str, shard: Shard, name: str) -> str | None:
    """Return the label in a member; None if it has none. Raises DataError if it is damaged."""
    label = member_label(shard, name)
    text = as_text(content, label).strip()
    if kind != "json":
        return text or None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{label} is not JSON", hint="make the shard again") from error
    if isinstance(value, dict):
        value = next((value[each] for each in JSON_NAMES if each in value), None)
    if isinstance(value, (list, dict)):
        raise DataError(
            f"{label} has several labels", hint="one label for each image is read, not a list"
        )
    if value is None or isinstance(value, bool):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
