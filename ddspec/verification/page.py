"""The page of a run, held against the page that ddspec makes of the record."""

import base64
import binascii
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import REPORT_ASSETS, REPORT_HTML
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import read_regular_file
from ddspec.engine.machine.environment import installed_version
from ddspec.reports.embed import embedded_record, embedded_resolved_spec
from ddspec.reports.figures import gallery as sheets
from ddspec.reports.figures.chart import Chart
from ddspec.reports.pages.run import page_text, read_images
from ddspec.verification.finding import (
    BY_ROUNDING,
    NUMBER,
    Finding,
    diff_paths,
    finding,
    in_words_of_its_version,
    not_checked_if,
    same_text,
)

PartKind = Literal["text", "drawing", "numbers", "picture"]
STARTS: dict[PartKind, tuple[str, str]] = {
    "drawing": ('<svg class="chart"', "</svg>"),
    "numbers": ('<script type="application/json" class="numbers">', "</script>"),
    "picture": ("data:image/png;base64,", '"'),
}
"""How the parts of a page begin and end whose bytes depend on fonts and libraries."""


@dataclass(frozen=True)
class MadePage:
    """The page that ddspec makes of a record, and the pictures beside it."""

    html: str
    pictures: Mapping[str, bytes]
    """By file name; empty if all pictures are in the page."""


def check_page(folder: Path, record: Record, shown: Mapping[str, list[Chart]]) -> Iterator[Finding]:
    """Check the page: the record in it, its words and tables, its figures and its pictures."""
    try:
        text = read_regular_file(folder / REPORT_HTML).decode()
        embedded = embedded_record(text)
        faults = (f"record.json: {difference}" for difference in diff_paths(embedded, record))
        yield finding(f"the record in {REPORT_HTML}", faults, "the record of record.json")
        if embedded_resolved_spec(text) != record.resolved:
            yield Finding(
                f"the resolved spec in {REPORT_HTML}", "fault", "it differs from that of the record"
            )
    except FileNotFoundError:
        yield Finding(REPORT_HTML, "not checked", "it is missing")
        return
    except (RecordError, UnicodeDecodeError, OSError) as error:
        yield Finding(REPORT_HTML, "fault", str(error))
        return
    try:
        images = read_images(folder, record)
        yield from check_content(folder, record, text, make_pages(record, images, shown))
    except RecordError as error:
        yield Finding("pictures that the page shows", "fault", str(error))
        yield Finding(f"the text of {REPORT_HTML}", "not checked", "it needs these pictures")


def make_pages(
    record: Record, images: Mapping[str, bytes], shown: Mapping[str, list[Chart]]
) -> Iterator[MadePage]:
    """Yield the page with its pictures inside, and then the one with its pictures beside it."""
    yield MadePage(page_text(record, sheets.gallery(record, images), shown), {})
    kept: dict[str, bytes] = {}

    def keep(name: str, png: bytes) -> str:
        kept[name] = png
        return f"{REPORT_ASSETS}/{name}"

    gallery = sheets.gallery(record, images, sheets.MOST_PIXELS, keep)
    yield MadePage(page_text(record, gallery, shown, pictures_beside=True), kept)


def check_content(
    folder: Path, record: Record, text: str, pages: Iterator[MadePage]
) -> Iterator[Finding]:
    """Check a page part by part against that one of the made pages that has the same text."""
    what, parts = f"the text of {REPORT_HTML}", split_page(text)
    made = next((page for page in pages if texts(split_page(page.html)) == texts(parts)), None)
    if made is None:
        detail = "it differs from what ddspec report makes of the record, or another build made it"
        yield in_words_of_its_version(record, Finding(what, "fault", detail))
        reason = "the text around them differs"
        yield Finding(f"figures and pictures of {REPORT_HTML}", "not checked", reason)
        pictures_beside: Mapping[str, bytes] = {}
    else:
        yield Finding(what, "ok")
        pairs = list(zip(parts, split_page(made.html), strict=True))
        yield from check_drawings(record, [pair for pair in pairs if pair[0][0] == "drawing"])
        yield check_numbers([pair for pair in pairs if pair[0][0] == "numbers"])
        pictures = [(a[1], b[1]) for a, b in pairs if a[0] == "picture"]
        decoded = [(picture_bytes(a), picture_bytes(b)) for a, b in pictures]
        yield check_pictures(f"pictures of {REPORT_HTML}", decoded)
        pictures_beside = made.pictures
    yield from check_assets(folder, pictures_beside)


def split_page(page: str) -> list[tuple[PartKind, str]]:
    """Return the parts of a page in their order, in time linear in its size."""
    parts: list[tuple[PartKind, str]] = []
    position = 0
    after = {kind: page.find(start) for kind, (start, _) in STARTS.items()}
    while True:
        for kind, (start, _) in STARTS.items():
            if 0 <= after[kind] < position:
                after[kind] = page.find(start, position)
        begun = [(at, kind) for kind, at in after.items() if at >= 0]
        if not begun:
            break
        at, kind = min(begun)
        start, end = STARTS[kind]
        closed = page.find(end, at + len(start))
        if closed < 0:
            after[kind] = -1  # Nothing after it is closed either.
            continue
        parts += [("text", page[position:at]), (kind, page[at:closed])]
        position = closed
    return [*parts, ("text", page[position:])]


def texts(parts: Sequence[tuple[PartKind, str]]) -> list[tuple[PartKind, str]]:
    """Return the parts of a page with nothing in place of figures and pictures."""
    return [(kind, content if kind == "text" else "") for kind, content in parts]


Pairs = Sequence[tuple[tuple[PartKind, str], tuple[PartKind, str]]]
"""Parts of a page, each beside that of the page that was made again."""

TEXT_NODE = re.compile(r">([^<>]*)<")


def check_drawings(record: Record, pairs: Pairs) -> Iterator[Finding]:
    """Check the figures: their words and elements, and then the shapes, which depend on fonts."""
    what = f"words of the figures of {REPORT_HTML}"

    def faults() -> Iterator[str]:
        for number, ((_, drawn), (_, made)) in enumerate(pairs, 1):
            if words_of(drawn) != words_of(made):
                yield f"figure {number} differs from what ddspec report draws"

    recorded, here = record.environment.packages.get("matplotlib"), installed_version("matplotlib")
    reason = f"it was drawn with matplotlib {recorded or 'unknown'}, this is {here}"
    yield not_checked_if(recorded != here, finding(what, faults(), f"{len(pairs)} figures"), reason)
    apart = sum(drawn != made for drawn, made in pairs)
    if apart:
        reason = "they differ from those drawn here, by fonts and libraries or by hand"
        yield Finding(f"shapes of {apart} figures of {REPORT_HTML}", "not checked", reason)


def words_of(drawing: str) -> tuple[list[str], str]:
    """Return the texts of a drawing, and its elements without their numbers."""
    return TEXT_NODE.findall(drawing), NUMBER.sub("#", drawing)


def check_numbers(pairs: Pairs) -> Finding:
    """Check the numbers of the figures that the page's script reads."""
    opening = len(STARTS["numbers"][0])
    what, shifted, rounded = f"numbers of the figures of {REPORT_HTML}", 0, 0
    faults: list[str] = []
    for (_, page), (_, made) in pairs:
        if page == made:
            continue
        numbers = json.loads(made[opening:])
        recorded, again = without_frame(page[opening:]), without_frame(made[opening:])
        if recorded is None or again is None or not same_text(recorded, again):
            faults.append(f"those of {numbers['name']} are not those of the record")
        elif recorded != again:
            rounded += 1
        else:
            shifted += 1
    if rounded and not faults:
        return Finding(what, "not checked", f"{rounded} figures differ {BY_ROUNDING}")
    if shifted and not faults:
        reason = f"{shifted} figures have their axes elsewhere than drawn here"
        return Finding(what, "not checked", reason)
    return finding(what, faults, f"{len(pairs)} figures")


def without_frame(text: str) -> str | None:
    """Return the numbers of a figure as text without the position of its axes."""
    try:
        numbers = json.loads(text)
        return json.dumps({**numbers, "frame": None})
    except (ValueError, TypeError, RecursionError):
        return None


def picture_bytes(address: str) -> bytes:
    """Return the picture in an address; nothing if it is damaged."""
    start = STARTS["picture"][0]
    try:
        return base64.b64decode(address[len(start) :], validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_pictures(what: str, pairs: Sequence[tuple[bytes, bytes]]) -> Finding:
    """Check pictures against those made again: by bytes, or else by pixels."""
    apart = [(picture, made) for picture, made in pairs if picture != made]
    others = [number for number, pair in enumerate(apart, 1) if not same_pixels(*pair)]
    if others:
        return Finding(what, "fault", f"{len(others)} of {len(pairs)} show something else")
    if apart:
        detail = f"{len(apart)} of {len(pairs)} have the right pixels in other bytes"
        return Finding(what, "not checked", detail)
    return Finding(what, "ok", f"{len(pairs)} pictures")


def same_pixels(picture: bytes, made: bytes) -> bool:
    """Return whether a PNG has the pixels of one that was made here."""
    try:
        expected = Image.open(io.BytesIO(made), formats=["PNG"])
        image = Image.open(io.BytesIO(picture), formats=["PNG"])
        # Compared before decoding: a small file may claim to be a very large picture.
        if (image.size, image.mode) != (expected.size, expected.mode):
            return False
        return bool(np.array_equal(np.asarray(image), np.asarray(expected)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def check_assets(folder: Path, pictures: Mapping[str, bytes]) -> Iterator[Finding]:
    """Check the pictures beside the page, and name what else is in their folder."""
    pairs: list[tuple[bytes, bytes]] = []
    for name, png in pictures.items():
        try:
            picture = read_regular_file(folder / REPORT_ASSETS / name, 100_000 + 2 * len(png))
        except OSError:
            picture = b""
        pairs.append((picture, png))
    if pairs:
        yield check_pictures(f"{REPORT_ASSETS}/", pairs)
    beside = folder / REPORT_ASSETS
    present = {path.name for path in beside.iterdir()} if beside.is_dir() else set()
    if present - set(pictures):
        more = len(present - set(pictures))
        yield Finding(
            f"{more} other files in {REPORT_ASSETS}/", "not checked", "the page shows none of them"
        )
