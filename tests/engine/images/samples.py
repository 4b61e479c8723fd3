"""Small image datasets, written to disk for the tests of reading images."""

import io
import zipfile

import numpy as np
import torch
from PIL import Image

from ddspec.dsl.facts import class_names
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import check_across_keys, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.exchange.synthetic_file import to_pixels
from ddspec.engine.images.real_data import load_data
from ddspec.engine.images.sources.find_images import find_source

FOLDER = Dataset(name="folder", root="pets")
CIFAR10 = Dataset(name="cifar10")
CIFAR10_CLASSES = class_names.CIFAR10
CPU = torch.device("cpu")


def random_png(seed, size=(6, 4), mode="RGB"):
    """Return an image of random pixels as the bytes of a PNG."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return png_of(Image.fromarray(pixels, mode))


def png_of(image):
    """Return an image as the bytes of a PNG."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def members(classes=("cat", "ant"), train=3, test=2, **options):
    """Return random images as {split/class/file: bytes}."""
    files = {}
    for number, name in enumerate(classes):
        for split, count in (("train", train), ("test", test)):
            for index in range(count):
                seed = 1000 * number + 10 * index + (split == "test")
                files[f"{split}/{name}/{index:03d}.png"] = random_png(seed, **options)
    return files


def write_folder(base, files):
    """Write files below a folder."""
    for name, content in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_zip(path, files):
    """Write a zip file, its members in reversed order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in reversed(files.items()):
            archive.writestr(name, content)


def source_of(folder, **options):
    """Return the source of the dataset in a folder, with settings of `[dataset]`."""
    return find_source(FOLDER.model_copy(update=options), folder, fetch=False)


def plan_of(facts, *overrides):
    """Return the plan of a small spec on the dataset in a folder."""
    text = (
        'ddspec = 1\nname = "x"\n[dataset]\nname = "folder"\nroot = "pets"\n'
        "[network]\ndepth = 1\n[synthetic]\nipc = 1\n"
    )
    return compile_spec(parse_spec(text, "x.toml", overrides).spec, facts, Machine("cpu", 2))


def warnings_for(facts, *overrides):
    """Return the warnings for a small spec on CIFAR-10 images with these facts."""
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "cifar10"\n[synthetic]\nipc = 1\n'
    return check_across_keys(parse_spec(text, "x.toml", overrides), facts).warnings


def load_training_data(facts, store, *overrides):
    """Return the images of a spec on the folder, a function back to bytes, and the step."""
    plan = plan_of(facts, *overrides)
    data, step = load_data(plan.step("dataset"), store, CPU), plan.step("dataset")

    def as_bytes(images):
        return (to_pixels(images.numpy(), step.facts, None) * 255).round().astype(np.uint8)

    return data, as_bytes, step


def idx(array, kind=8):
    """Return an array of bytes in the format of MNIST's files."""
    head = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()
