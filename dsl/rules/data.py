"""Rules on images and networks: what is asked of a dataset is there, and fits the network.

A rule takes the spec and what is known of the dataset and yields diagnostics.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import (
    COPIED_STATISTICS,
    KNOWN,
    DatasetFacts,
    missing_facts,
    side_of,
)
from ddspec.dsl.facts.network_sizes import NORM_GROUPS, SMALLEST_SIDE, deepest, extra_padding
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import ConvNet, keeps_statistics
from ddspec.dsl.terms import NetworkName


def synthetic_batch(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A student's batch is at most as large as the synthetic set."""
    batch = spec.matching.batch_syn
    if facts is None or batch is None:
        return
    size = spec.synthetic.ipc * facts.classes
    if batch > size:
        yield Diagnostic(
            code="batch-larger-than-synthetic-set",
            key="matching.batch_syn",
            problem=f"a batch of {batch}, but the synthetic set has {size} images "
            f"({facts.classes} classes x {spec.synthetic.ipc})",
            hint=f"at most {size} here; left out, every step takes all images",
            involves=("dataset", "synthetic.ipc"),
        )


def network_depth(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Pooling leaves at least one pixel."""
    if facts is None or not isinstance(spec.network, ConvNet) or spec.network.pooling == "none":
        return
    most = deepest(facts.channels, facts.height, facts.width)
    if spec.network.depth > most:
        yield Diagnostic(
            code="network-too-deep",
            key="network.depth",
            problem=f"{spec.network.depth} blocks halve an image of "
            f"{facts.height}x{facts.width} pixels {spec.network.depth} times, "
            f"but it can be halved {most} times",
            hint=f'at most {most} here, or network.pooling = "none"',
            involves=("dataset", "network.pooling"),
        )


def group_norm_width(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Group norm splits the channels evenly."""
    if not isinstance(spec.network, ConvNet):
        return
    width = spec.network.width
    if spec.network.norm == "group" and width % NORM_GROUPS:
        fitting = -(-width // NORM_GROUPS) * NORM_GROUPS
        yield Diagnostic(
            code="width-not-divisible",
            key="network.width",
            problem=f"{width} channels cannot be split into {NORM_GROUPS} equal groups",
            hint=f"a multiple of {NORM_GROUPS}, for example {fitting}",
            involves=("network.norm",),
        )


def images_large_enough(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A network that halves images so and so often has pixels left at its end."""
    if facts is None:
        return
    side = min(facts.height, facts.width) + 2 * extra_padding(
        facts.channels, facts.height, facts.width
    )
    named: list[tuple[str, NetworkName]] = [("network.name", spec.network.name)]
    named += [("evaluation.networks", name) for name in spec.evaluation.networks]
    for path, name in dict(reversed(named)).items():
        least = SMALLEST_SIDE.get(name, 1)
        if side < least:
            fitting = [other for other, needed in SMALLEST_SIDE.items() if needed <= side]
            yield Diagnostic(
                code="image-too-small",
                key=path,
                problem=f'"{name}" needs images of at least {least} pixels a side, but these are '
                f"{facts.height}x{facts.width}",
                hint="here fit " + ", ".join(["convnet", *fitting]),
                involves=("dataset", "network", "evaluation.networks"),
            )


def images_per_class(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every class has the real images that initialisation and the random baseline draw."""
    if facts is None:
        return
    fewest = min(facts.train_per_class)
    if spec.synthetic.ipc > fewest:
        poorest = facts.class_names[facts.train_per_class.index(fewest)]
        yield Diagnostic(
            code="more-images-than-class-has",
            key="synthetic.ipc",
            problem=f"{spec.synthetic.ipc} images per class, but class {poorest!r} has "
            f"{fewest} training images to draw from",
            hint=f"at most {fewest} here",
            involves=("dataset",),
        )


def statistics_read(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The public code has statistics of its own only where it copied them, and they are used."""
    name, asked = spec.dataset.name, spec.dataset.statistics
    if asked == "public_code" and name not in COPIED_STATISTICS:
        yield Diagnostic(
            code="same-statistics",
            key="dataset.statistics",
            problem=f'the public code normalises "{name}" by its own statistics, if it knows it',
            hint='remove the key; "public_code" is for ' + ", ".join(COPIED_STATISTICS),
            involves=("dataset.name",),
        )
    elif asked == "public_code" and spec.dataset.zca:
        yield Diagnostic(
            code="same-statistics",
            key="dataset.statistics",
            problem="whitened images are not normalised by channel, so that nothing reads this",
            hint="remove the key, or zca = false",
            involves=("dataset.zca",),
        )


def folder_root(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A folder has a name below the data folder; other datasets have none."""
    root, is_folder = spec.dataset.root, spec.dataset.name == "folder"
    if is_folder and root is None:
        yield Diagnostic(
            code="folder-without-root",
            key="dataset.name",
            problem='dataset "folder" does not say which folder',
            hint='add root = "NAME" in [dataset]; the images lie in NAME below --data',
            involves=("dataset.root",),
        )
    if root is not None and not all(c.isalnum() or c in "._- " for c in root.replace("/", "_")):
        yield bad_root(root, "holds characters that a folder name here may not have")
    elif root is not None and any(part in ("", ".", "..") for part in root.split("/")):
        yield bad_root(root, "leads out of the data folder")


def folder_keys(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Where files lie, which colours they have and whether they are transparent is asked of a
    folder of one's own; of every other dataset it is known.
    """
    name = spec.dataset.name
    if name == "folder":
        return
    for key in ("root", "color", "alpha"):
        if getattr(spec.dataset, key) != type(spec.dataset).model_fields[key].default:
            yield Diagnostic(
                code="key-of-folder",
                key=f"dataset.{key}",
                problem=f'only a folder of your own has it; of dataset "{name}" it is known',
                hint=f'remove {key}, or use name = "folder"',
                involves=("dataset.name",),
            )


def fit_read(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """How images are fitted into a square is read where they are resized."""
    if spec.dataset.fit != "crop" and side_of(spec.dataset) is None:
        yield Diagnostic(
            code="fit-without-resolution",
            key="dataset.fit",
            problem="images stay as they are, so that nothing reads this",
            hint="add resolution, or remove fit",
            involves=("dataset.resolution",),
        )


def held_out_images(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A choice by held-out images needs some, and leaves some to train on."""
    if spec.evaluation.choose == "validation" and not spec.dataset.validation:
        yield Diagnostic(
            code="nothing-held-out",
            key="evaluation.choose",
            problem="no images are held out to choose by",
            hint="dataset.validation = 0.1 holds out a tenth of the training images",
            involves=("dataset.validation",),
        )
    if facts is not None and spec.dataset.validation and min(facts.train_per_class) < 1:
        yield Diagnostic(
            code="nothing-held-out",
            key="dataset.validation",
            problem="a class has no training image left",
            hint="a smaller share, or more dataset.images_per_class",
            involves=("dataset",),
        )


def experts_without_statistics(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Experts and students are functions of their parameters alone."""
    if not keeps_statistics(spec.network):
        return
    key = "network.norm" if isinstance(spec.network, ConvNet) else "network.name"
    yield Diagnostic(
        code="expert-with-statistics",
        key=key,
        problem="batch norm keeps running statistics, which trajectories of parameters do not hold",
        hint='another norm here; evaluation.networks may name "convnet_bn", "vgg11_bn" '
        'or "resnet18_bn"',
    )


def requested_classes_exist(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Classes that are asked for are there, each once."""
    asked = spec.dataset.classes
    if asked is None:
        return
    twice = next((name for name in asked if asked.count(name) > 1), None)
    if twice is not None:
        yield Diagnostic(
            code="unknown-class",
            key="dataset.classes",
            problem=f"{twice!r} stands there {asked.count(twice)} times",
            hint="name each class once",
        )
    there = facts.class_names if facts else asked
    for name in asked:
        if name not in there:
            near = get_close_matches(name, there, n=3, cutoff=0.5) or there[:5]
            yield Diagnostic(
                code="unknown-class",
                key="dataset.classes",
                problem=f'"{spec.dataset.name}" has no class {name!r} here',
                hint="for example " + ", ".join(near),
                involves=("dataset.name",),
            )


def whole_dataset(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Images that were read are all that the dataset has; a run on fewer is another experiment."""
    lacking = missing_facts(spec.dataset.name, facts) if facts else None
    if lacking is None:
        return
    all_asked = spec.dataset.classes is None
    fewer_classes = facts is not None and facts.classes < KNOWN[spec.dataset.name].classes
    yield Diagnostic(
        code="incomplete-dataset",
        key="dataset.name",
        problem=f"{lacking}; accuracies do not compare with those of the whole dataset",
        hint="place all images there; or name the classes you mean in dataset.classes, or --preview"
        if fewer_classes and all_asked
        else "place all images there",
        severity="error" if fewer_classes and all_asked and not spec.preview else "warning",
        involves=("dataset.classes",),
    )


def bad_root(root: str, problem: str) -> Diagnostic:
    """A folder name that a spec may not carry."""
    return Diagnostic(
        code="root-escapes",
        key="dataset.root",
        problem=f"{root!r} {problem}",
        hint="a plain name below the data folder, such as my_images; --data says where that is",
    )
