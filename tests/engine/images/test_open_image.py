"""Images are opened upright and with 8 bits, of any size that a spec resizes, or refused."""

import io
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.diagnostics import DataError
from ddspec.engine.images.open_image import MAX_RESIZED_PIXELS
from tests.engine.images.samples import members, random_png, source_of, write_folder

UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
"""A grey picture of 6x4 pixels."""

STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}
"""How a camera stores that picture under each EXIF orientation, from EXIF's definition."""


def saved(image, kind="PNG", **options):
    """Return an image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def first_image(files, **options):
    """Return the first training image of a dataset with these files besides grey ones."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "pets", members(mode="L") | files)
        return source_of(Path(folder), **options).read().train.images[0]


def turned(orientation):
    """Return EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright_before_their_sizes_are_compared(orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    content = saved(stored, kind, exif=turned(orientation), **options)
    assert np.array_equal(
        first_image({f"train/ant/0.{kind.lower()}": content}, color="grey")[0], UPRIGHT
    )


@pytest.mark.parametrize("orientation", STORED)
def test_photographs_of_a_camera_are_turned_upright(orientation):
    wide = np.kron(np.array([[0, 80, 160], [200, 120, 40]]), np.ones((16, 16))).astype(np.uint8)
    stored = {
        1: wide,
        2: wide[:, ::-1],
        3: wide[::-1, ::-1],
        4: wide[::-1],
        5: wide.T,
        6: np.rot90(wide),
        7: wide[::-1, ::-1].T,
        8: np.rot90(wide, -1),
    }[orientation]
    content = saved(
        Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=turned(orientation), quality=95
    )
    files = members(mode="L", size=(48, 32)) | {"train/ant/000.png": content}
    image = first_image(files)[0]
    assert image.shape == wide.shape
    assert abs(image.astype(int) - wide).max() < 12


def test_damaged_exif_data_leaves_an_image_as_it_is():
    content = saved(Image.fromarray(UPRIGHT), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(first_image({"train/ant/000.png": content})[0], UPRIGHT)


def test_16_bits_give_their_upper_8_in_grey_and_in_colour():
    deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2_800 + 255
    for kind in ("PNG", "TIFF"):
        content = saved(Image.fromarray(deep), kind)
        assert np.array_equal(first_image({f"train/ant/0.{kind.lower()}": content})[0], deep >> 8)
    colour = np.stack([deep, deep[::-1], deep[:, ::-1]], axis=-1)
    image = first_image({"train/ant/0.png": png_with_16_bits(colour)})
    assert np.array_equal(image, (colour >> 8).transpose(2, 0, 1))


def png_with_16_bits(colour):
    """Return colours of 16 bits as the bytes of a PNG, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    size = colour.shape[1].to_bytes(4, "big") + colour.shape[0].to_bytes(4, "big")
    chunks = (b"IHDR" + size + bytes([16, 2, 0, 0, 0]), b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        for chunk in chunks
    )


def test_16_bits_in_pgm_and_ppm_files_are_scaled_alike():
    deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2_800 + 255
    grey = first_image({"train/ant/0.pgm": b"P5 6 4 65535\n" + deep.astype(">u2").tobytes()})
    colour = np.repeat(deep.astype(">u2")[..., None], 3, axis=-1)
    layers = first_image({"train/ant/0.ppm": b"P6 6 4 65535\n" + colour.tobytes()})
    assert all(np.array_equal(layer, np.round(deep / 257).astype(np.uint8)) for layer in layers)
    assert np.array_equal(grey[0], layers[0])


def test_transparent_grey_value_of_16_bits_is_laid_on_the_background():
    deep = np.full((4, 6), 40_000, dtype=np.uint16)
    deep[0] = 5
    content = saved(Image.fromarray(deep), transparency=5)
    with pytest.raises(DataError, match="transparent"):
        first_image({"train/ant/000.png": content})
    image = first_image({"train/ant/000.png": content}, alpha="white")[0]
    assert (image[0] == 255).all() and (image[1:] == 40_000 >> 8).all()


def test_floats_from_0_to_1_are_read_and_others_refused_with_their_range():
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    content = saved(Image.fromarray(values), "TIFF")
    assert np.array_equal(
        first_image({"train/ant/0.tif": content})[0], np.round(values * 255).astype(np.uint8)
    )
    for wrong, words in ((values * 300, "from 0 to 300; floats"), (values * np.nan, "from nan")):
        with pytest.raises(DataError, match=words):
            first_image({"train/ant/0.tif": saved(Image.fromarray(wrong), "TIFF")})
    integers = np.full((4, 6), 70_000, dtype=np.int32)
    with pytest.raises(DataError, match="from 70000 to 70000; integers from 0 to 65,535"):
        first_image({"train/ant/0.tif": saved(Image.fromarray(integers), "TIFF")})


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_photographs_of_24_megapixels_are_read_if_they_are_resized(kind):
    photo = Image.new("RGB", (6000, 4000), (200, 0, 0))
    photo.paste((0, 0, 200), (0, 0, 3000, 4000))
    files = {"train/ant/0.jpg": saved(photo, kind)}
    with pytest.raises(
        DataError, match=r"6000x4000 pixels; at most 16,777,216 .* not resized"
    ) as e:
        first_image(files)
    assert "dataset.resolution" in e.value.hint
    small = first_image(files, resolution=16)
    exact = np.asarray(photo.resize((24, 16), Image.Resampling.BILINEAR).crop((4, 0, 20, 16)))
    assert abs(small.astype(int) - exact.transpose(2, 0, 1)).max() < 8


def with_size(png, width, height):
    """Return a PNG whose header says another size."""
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4, "big") + png[33:]


def test_images_beyond_the_limit_are_refused_before_they_are_decoded():
    for size in ((16_400, 16_400), (20_000, 20_000), (60_000, 60_000)):
        scan = with_size(random_png(0), *size)
        with pytest.raises(DataError, match=f"{MAX_RESIZED_PIXELS:,}"):
            first_image({"train/ant/000.png": scan}, resolution=16)
    assert Image.MAX_IMAGE_PIXELS < MAX_RESIZED_PIXELS  # Pillow's limit is restored.


def test_images_read_rightly_before_keep_their_fingerprint(tmp_path):
    """Computed by the reader before it turned images and looked into deeper folders."""
    write_folder(tmp_path / "rgb" / "pets", members())
    write_folder(tmp_path / "grey" / "pets", members(mode="L"))
    write_folder(tmp_path / "rgba" / "pets", members(mode="RGBA"))
    palette = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    ).quantize(16)
    mixed = members() | {
        "train/ant/z.gif": saved(palette, "GIF"),
        "train/cat/Z.PNG": random_png(55),
        "train/cat/zz.txt": b"x",
        "val/cat/1.png": random_png(5),
    }
    write_folder(tmp_path / "mixed" / "pets", mixed)
    prints = {
        "rgb": source_of(tmp_path / "rgb").read().fingerprint,
        "resized": source_of(tmp_path / "rgb", resolution=8).read().fingerprint,
        "grey": source_of(tmp_path / "grey").read().fingerprint,
        "rgba": source_of(tmp_path / "rgba", alpha="white").read().fingerprint,
        "mixed": source_of(tmp_path / "mixed").read().fingerprint,
    }
    assert prints == {
        "rgb": "27eae307999a4c3701496df148f95334",
        "resized": "95a7f3d2cf708cedf9cee4a525566336",
        "grey": "ed9d7dc7deb37476b936bcfc55ac2409",
        "rgba": "0df97a3596b339026db4f3ad4b4481ef",
        "mixed": "ae22d3d9d44658895bc16c533185b3d1",
    }
