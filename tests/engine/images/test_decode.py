"""Decoded images have the size, colours and background that a spec asks for."""

import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.diagnostics import DataError
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import FOLDER, members, png_of, random_png, source_of, write_folder


def test_grey_images_stay_grey_and_mixed_ones_become_colour(tmp_path):
    write_folder(tmp_path / "grey" / "pets", members(mode="L"))
    assert find_source(FOLDER, tmp_path / "grey", fetch=False).read().train.images.shape[1] == 1
    mixed = members(mode="L") | {"train/cat/000.png": random_png(1)}
    write_folder(tmp_path / "mixed" / "pets", mixed)
    assert find_source(FOLDER, tmp_path / "mixed", fetch=False).read().train.images.shape[1] == 3


def test_images_of_unequal_sizes_are_refused_or_resized(tmp_path):
    wide = Image.new("RGB", (32, 16), "red")
    wide.paste("blue", (8, 0, 24, 16))
    write_folder(tmp_path / "pets", members() | {"train/ant/000.png": png_of(wide)})
    with pytest.raises(DataError, match="32x16") as caught:
        source_of(tmp_path).read()
    assert "dataset.resolution" in caught.value.hint
    cut = source_of(tmp_path, resolution=8).read().train.images
    assert cut.shape == (6, 3, 8, 8)
    inside = cut[0, :, :, 1:7]  # At the edge the filter sees what was cut off.
    assert (inside[2] == 255).all() and (inside[0] == 0).all()
    whole = source_of(tmp_path, resolution=8, fit="stretch").read().train.images
    assert (whole[0, 0, :, 0] == 255).all() and (whole[0, 2, :, 4] == 255).all()


def test_shrinking_averages_over_the_pixels_it_leaves_out(tmp_path):
    """Antialiased: a chessboard of single pixels becomes grey, not black or white."""
    board = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    write_folder(tmp_path / "pets", members() | {"train/ant/000.png": png_of(board)})
    small = source_of(tmp_path, resolution=8).read().train.images[0]
    assert abs(small.astype(int) - 128).max() < 16


def test_transparent_images_are_refused_or_laid_on_the_named_background(tmp_path):
    clear = Image.new("RGBA", (6, 4), (255, 0, 0, 0))
    write_folder(tmp_path / "pets", members() | {"train/ant/000.png": png_of(clear)})
    with pytest.raises(DataError, match="transparent") as caught:
        source_of(tmp_path).read()
    assert "dataset.alpha" in caught.value.hint
    for name, value in (("white", 255), ("black", 0)):
        assert (source_of(tmp_path, alpha=name).read().train.images[0] == value).all()


def test_palettes_become_colours_and_colours_become_grey_if_asked(tmp_path):
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    write_folder(tmp_path / "pets", members(mode="L") | {"train/ant/000.png": png_of(palette)})
    colour = source_of(tmp_path).read().train.images
    assert colour.shape[1] == 3 and (colour[0, 1] == 200).all()
    grey = source_of(tmp_path, color="grey").read().train.images
    assert grey.shape[1] == 1 and (grey[0] == round(0.587 * 200)).all()
