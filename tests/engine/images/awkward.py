"""A hundred awkward files: formats, modes, sizes, names and damage, each with its right fate."""

import io
import zlib

import numpy as np
from PIL import Image

READ, REFUSED = "read", "refused"
"""Fates of files; any other fate is the reason for which a file is passed over."""

FORMATS = {
    "PNG": "png apng PNG Png",
    "JPEG": "jpg jpeg jpe jfif JPG",
    "GIF": "gif GIF",
    "BMP": "bmp",
    "DIB": "dib",
    "TIFF": "tif tiff TIF",
    "WEBP": "webp",
    "PPM": "ppm pnm",
    "TGA": "tga icb vda vst",
    "JPEG2000": "jp2 j2k jpx",
    "PCX": "pcx",
    "SGI": "sgi rgb",
    "ICO": "ico",
    "DDS": "dds",
}

MODES = (
    ("1", "png"),
    ("L", "png"),
    ("P", "png"),
    ("I;16", "png"),
    ("LA", "png"),
    ("RGBA", "png"),
    ("L", "jpg"),
    ("CMYK", "jpg"),
    ("CMYK", "tif"),
    ("F", "tif"),
    ("I;16", "tif"),
    ("LAB", "tif"),
    ("YCbCr", "tif"),
    ("1", "pbm"),
    ("L", "pgm"),
    ("L", "bmp"),
    ("P", "gif"),
    ("LA", "tif"),
    ("RGBA", "webp"),
    ("L", "xbm"),
)

SIZES = ((1, 1), (1, 300), (300, 1), (5000, 3), (3, 5000), (16, 16), (17, 31), (5000, 4000))

NAMES = (
    "with space",
    "quote'\"",
    "new\nline",
    "\U0001f408",
    "e\u0301",
    "a" * 240,
    "-rf",
    "%s{}",
    "#1",
)

PASSED_OVER = {
    ".DS_Store": "hidden",
    "._0.png": "hidden",
    ".ipynb_checkpoints/0.png": "hidden",
    "__MACOSX/0.png": "hidden",
    "Thumbs.db": ".db",
    "desktop.ini": ".ini",
    "README": "without suffix",
    "labels.csv": ".csv",
    "clip.mp4": ".mp4",
    "paper.pdf": ".pdf",
    "drawing.eps": ".eps",
    "drawing.svg": ".svg",
    "photo.heic": ".heic",
    "photo.jpg.part": ".part",
    "photo.png~": ".png~",
    "photo.2024": ".2024",
    "odd.\u00e4\u00e4": "with an odd suffix",
}


def picture(mode="RGB", size=(12, 9), seed=0):
    """Return a picture of random pixels in one of Pillow's modes."""
    random = np.random.default_rng(seed)
    if mode == "F":
        return Image.fromarray(random.random((size[1], size[0]), dtype=np.float32))
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 2**16, (size[1], size[0])).astype(np.uint16))
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    if mode == "LA":
        return image.convert("RGBA").convert("LA")
    return image.convert("1" if mode == "1" else mode)


def encoded(kind, mode="RGB", size=(12, 9), seed=0, **options):
    """Return a picture as the bytes of a file of one of Pillow's formats."""
    stream = io.BytesIO()
    image = picture(mode, size, seed)
    image.convert("1").save(stream, kind) if kind == "XBM" else image.save(stream, kind, **options)
    return stream.getvalue()


def damaged_files():
    """Return damaged files as {name: bytes}; all of them have to be refused."""
    png, jpeg = encoded("PNG", size=(40, 40)), encoded("JPEG", size=(40, 40))
    gif, tiff = encoded("GIF"), encoded("TIFF", compression="tiff_deflate")
    wrong_sum = bytearray(png)
    wrong_sum[60] ^= 0xFF
    header = b"IHDR" + (2**30).to_bytes(4, "big") * 2 + png[24:29]
    return {
        "empty.png": b"",
        "text.jpg": b"this is a text",
        "page.jpg": b"<!doctype html><html></html>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "cut.png": png[: len(png) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.gif": gif[: len(gif) // 2],
        "cut.tif": tiff[: len(tiff) // 2],
        "cut.webp": encoded("WEBP")[:40],
        "cut.ppm": encoded("PPM")[:-7],
        "cut.bmp": encoded("BMP")[:-40],
        "cut.tga": encoded("TGA")[:-40],
        "wrong_sum.png": bytes(wrong_sum),
        "bomb.png": png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:],
        "program.png": encoded("EPS"),
        "document.jpg": encoded("PDF"),
        "zeros.png": bytes(1000),
        "zeros.tga": bytes(1000),
    }


def awkward_files():
    """Return {path in the folder of a class: (content, fate)} of a hundred files."""
    files = {}
    for kind, suffixes in FORMATS.items():
        for suffix in suffixes.split():
            files[f"format.{suffix}"] = (encoded(kind, size=(16, 16)), READ)
    by_suffix = {
        "png": "PNG", "jpg": "JPEG", "tif": "TIFF", "pbm": "PPM", "pgm": "PPM",
        "bmp": "BMP", "gif": "GIF", "webp": "WEBP", "xbm": "XBM",
    }  # fmt: skip
    for mode, suffix in MODES:
        files[f"mode_{mode}.{suffix}"] = (encoded(by_suffix[suffix], mode), READ)
    for width, height in SIZES:
        files[f"{width}x{height}.png"] = (encoded("PNG", "L", (width, height)), READ)
    for number, name in enumerate(NAMES):
        files[f"{name}.png"] = (encoded("PNG", seed=number), READ)
    files["a/b/c/deeper.png"] = files["a.folder/0.jpg"] = (encoded("PNG"), READ)
    files |= {name: (encoded("PNG"), fate) for name, fate in PASSED_OVER.items()}
    files["README"] = (b"Read me.", "without suffix")
    files |= {f"damaged_{name}": (data, REFUSED) for name, data in damaged_files().items()}
    return files
