"""Which files of a dataset are images: by suffix, or without a suffix by their first bytes.

The formats are listed here by name. Pillow would also open PostScript and PDF files, for which
it starts another program, and data of physics and films, which it cannot decode by itself.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath

from PIL import Image

SUFFIXES = {
    "AVIF": (".avif", ".avifs"),
    "BLP": (".blp",),
    "BMP": (".bmp",),
    "CUR": (".cur",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "FITS": (".fit", ".fits"),
    "FTEX": (".ftc", ".ftu"),
    "GBR": (".gbr",),
    "GIF": (".gif",),
    "ICNS": (".icns",),
    "ICO": (".ico",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "JPEG2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "MSP": (".msp",),
    "PCD": (".pcd",),
    "PCX": (".pcx",),
    "PIXAR": (".pxr",),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".bw", ".rgb", ".rgba", ".sgi"),
    "SUN": (".ras",),
    "TGA": (".icb", ".tga", ".vda", ".vst"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
"""Pillow's name of each format of still images that is read, and its suffixes in lower case."""

FORMAT_OF = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}

UNMARKED_FORMATS = ("FITS", "PCD", "TGA")
"""Formats whose files need not begin with fixed bytes; they are tried for their suffixes only."""

MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",
)
"""First bytes of PNG, JPEG, GIF, TIFF and JPEG 2000 files."""

HEAD_BYTES = 16
"""Number of first bytes by which a file without a suffix is recognised."""

HIDDEN, WITHOUT_SUFFIX = "hidden", "without suffix"


def is_hidden(parts: Sequence[str]) -> bool:
    """Return whether a path leads through a hidden name, or through macOS's `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def suffix_of(name: str) -> str:
    """Return a file name's suffix in lower case, with its dot; empty if it has none."""
    return PurePosixPath(name).suffix.lower()


def begins_like_image(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a common format of images."""
    if head.startswith(MAGIC) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return True
    return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis")


def reason_to_pass_over(parts: Sequence[str]) -> str | None:
    """Return why a file is not an image, judged by its path; None if it may be one.

    A file without a suffix may be an image; its first bytes decide.
    """
    if is_hidden(parts):
        return HIDDEN
    suffix = suffix_of(parts[-1])
    if not suffix or suffix in FORMAT_OF:
        return None
    is_plain = suffix.isascii() and suffix.isprintable() and len(suffix) <= 12
    return suffix if is_plain else "with an odd suffix"


@cache
def formats_for(name: str) -> tuple[str, ...]:
    """Return Pillow's names of the formats that are tried for a file name.

    A file is often of another format than its suffix says, so all formats with fixed first
    bytes are tried.
    """
    Image.init()
    suffix_format = FORMAT_OF.get(suffix_of(name))
    return tuple(
        known
        for known in SUFFIXES
        if known in Image.OPEN and (known not in UNMARKED_FORMATS or known == suffix_format)
    )
