"""Rules on images and networks: a dataset has the images that a spec needs.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import (
    COPIED_STATISTICS,
    KNOWN,
    DatasetFacts,
    missing_facts,
    other_split,
    side_of,
)
from ddspec.dsl.facts.network_sizes import NORM_GROUPS, SMALLEST_SIDE, deepest, extra_padding
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import ConvNet, keeps_statistics, network_of
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import Imported, Noise
from ddspec.dsl.terms import NetworkName
from ddspec.dsl.toml_text import short_text


def student_batch_within_synthetic_set(
    spec: Spec, facts: DatasetFacts | None
) -> Iterator[Diagnostic]:
    """A student's batch is at most as large as the synthetic set."""
    if facts is None or not isinstance(spec.matching, TrajectoryMatching):
        return
    batch = spec.matching.batch_syn
    if batch is None:
        return
    size = spec.synthetic.seen_ipc * facts.classes
    if batch > size:
        yield Diagnostic(
            code="batch-larger-than-synthetic-set",
            key="matching.batch_syn",
            problem=f"a batch of {batch} images, but the synthetic set has {size} "
            f"({facts.classes} classes x {spec.synthetic.seen_ipc} per class)",
            hint=f"use at most {size}, or remove the key: every step then takes all images",
            involves=("dataset", "synthetic.ipc"),
        )


def pooling_leaves_a_pixel(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The pooling of every ConvNet leaves at least one pixel."""
    if facts is None:
        return
    judges = {name: network_of(name, spec.network) for name in spec.evaluation.networks}
    nets = {"network.depth": spec.network} | {
        f"evaluation.networks[{index}]": net
        for index, (name, net) in enumerate(judges.items(), start=1)
        if name != spec.network.name
    }
    most = deepest(facts.channels, facts.height, facts.width)
    for key, net in nets.items():
        if isinstance(net, ConvNet) and net.pooling != "none" and net.depth > most:
            yield Diagnostic(
                code="network-too-deep",
                key=key,
                problem=f"{net.depth} blocks halve an image of "
                f"{facts.height}x{facts.width} pixels {net.depth} times, "
                f"but it can be halved only {most} times",
                hint=f'use at most {most}, or set network.pooling = "none"',
                involves=("dataset", "network.pooling"),
            )


def width_divisible_by_groups(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Group norm splits the channels into equal groups."""
    if not isinstance(spec.network, ConvNet):
        return
    width = spec.network.width
    if spec.network.norm == "group" and width % NORM_GROUPS:
        fitting = -(-width // NORM_GROUPS) * NORM_GROUPS
        yield Diagnostic(
            code="width-not-divisible",
            key="network.width",
            problem=f"{width} channels cannot be split into {NORM_GROUPS} equal groups",
            hint=f"use a multiple of {NORM_GROUPS}, for example {fitting}",
            involves=("network.norm",),
        )


def images_large_enough(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Images are at least as large as the smallest that each network can take."""
    if facts is None:
        return
    side = min(facts.height, facts.width) + 2 * extra_padding(
        facts.channels, facts.height, facts.width
    )
    keys: dict[NetworkName, str] = dict.fromkeys(spec.evaluation.networks, "evaluation.networks")
    keys[spec.network.name] = "network.name"
    for name, key in keys.items():
        smallest = SMALLEST_SIDE.get(name, 1)
        if side < smallest:
            fitting = [other for other, needed in SMALLEST_SIDE.items() if needed <= side]
            yield Diagnostic(
                code="image-too-small",
                key=key,
                problem=f'"{name}" needs images of at least {smallest}x{smallest} pixels, '
                f"but these are {facts.height}x{facts.width}",
                hint="choose a network that fits: " + ", ".join(["convnet", *fitting]),
                involves=("dataset", "network", "evaluation.networks"),
            )


def classes_have_ipc_images(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every class has at least synthetic.ipc training images."""
    if facts is None:
        return
    fewest = min(facts.train_per_class)
    if fewest < 1 and spec.dataset.validation:
        return  # `training_images_left` says what is wrong.
    synthetic = spec.synthetic
    from_nothing = isinstance(synthetic.init, Noise | Imported)
    parts = 1 if from_nothing else synthetic.partition**2
    if synthetic.ipc * parts > fewest:
        smallest_class = facts.class_names[facts.train_per_class.index(fewest)]
        each, most = f", each of {parts} real ones" if parts > 1 else "", fewest // parts
        yield Diagnostic(
            code="more-images-than-class-has",
            key="synthetic.ipc",
            problem=f"{synthetic.ipc} images per class{each}, "
            f"but class {short_text(smallest_class)} has only {fewest} training images",
            hint=f"use at most {most}"
            if most
            else "give the class training images, or remove its folder",
            involves=("dataset",),
        )


def public_statistics_differ(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The statistics of the public code are chosen only if they change the images."""
    name = spec.dataset.name
    if spec.dataset.statistics != "public_code":
        return
    if name not in COPIED_STATISTICS:
        yield Diagnostic(
            code="same-statistics",
            key="dataset.statistics",
            problem=f'the public code has no other statistics for "{name}"',
            hint='remove the key; "public_code" differs only for ' + ", ".join(COPIED_STATISTICS),
            involves=("dataset.name",),
        )
    elif spec.dataset.zca:
        yield Diagnostic(
            code="same-statistics",
            key="dataset.statistics",
            problem="whitened images are not normalised by channel, so this key has no effect",
            hint="remove the key, or set dataset.zca = false",
            involves=("dataset.zca",),
        )


def folder_has_root(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The dataset "folder" names the folder of its images."""
    if spec.dataset.name == "folder" and spec.dataset.root is None:
        yield Diagnostic(
            code="folder-without-root",
            key="dataset.name",
            problem='dataset "folder" needs the name of a folder',
            hint='add root = "NAME" in [dataset]; NAME is a folder below the data folder (--data)',
            involves=("dataset.root",),
        )


def root_within_data_folder(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The root of a dataset is a plain path below the data folder."""
    root = spec.dataset.root
    if root is None:
        return
    if not all(c.isalnum() or c in "._- " for c in root.replace("/", "_")):
        problem = "contains characters that are not allowed in a folder name"
        hint = "use letters, digits, dots, dashes, underscores and spaces; rename the folder"
    elif root.strip("/") and root.startswith("/"):
        problem = "is an absolute path, which other machines do not have"
        hint = f'write the folder below the data folder, such as "{root.strip("/").split("/")[-1]}"'
        hint += "; --data says where the data folder is"
    elif root.endswith("/") and not any(p in ("", ".", "..") for p in root[:-1].split("/")):
        problem = "ends with a slash"
        hint = f'write "{root[:-1]}"'
    elif any(part in ("", ".", "..") for part in root.split("/")):
        problem = "is not a path below the data folder"
        hint = 'use a plain name such as "my_images"; --data says where the data folder is'
    else:
        return
    yield Diagnostic(
        code="root-escapes",
        key="dataset.root",
        problem=f"{short_text(root)} {problem}",
        hint=hint,
    )


def folder_keys_only_for_folder(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Only the dataset "folder" has colours, a split and transparency to set, and a root.

    A dataset of an extension may have a root too.
    """
    name = spec.dataset.name
    if name == "folder":
        return
    of_folder = ("root", "color", "split", "alpha")
    for key in of_folder if spec.dataset.reader is None else of_folder[1:]:
        if getattr(spec.dataset, key) != type(spec.dataset).model_fields[key].default:
            yield Diagnostic(
                code="key-of-folder",
                key=f"dataset.{key}",
                problem=f'this key is only for dataset "folder"; for "{name}" its value is known',
                hint=f'remove {key}, or set dataset.name = "folder"',
                involves=("dataset.name",),
            )


def identity_only_for_extensions(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Only a dataset of an extension has a version and a hash of its reader's code."""
    for key in ("version", "code"):
        if spec.dataset.reader is None and getattr(spec.dataset, key) is not None:
            yield Diagnostic(
                code="key-of-extension",
                key=f"dataset.{key}",
                problem=f'"{spec.dataset.name}" is a dataset of ddspec itself',
                hint=f"remove {key}",
                involves=("dataset.name",),
            )


def fit_needs_resolution(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The way to fit images into a square is set only if images are resized."""
    if spec.dataset.fit != "crop" and side_of(spec.dataset) is None:
        yield Diagnostic(
            code="fit-without-resolution",
            key="dataset.fit",
            problem="images are not resized, so this key has no effect",
            hint="add dataset.resolution, or remove dataset.fit",
            involves=("dataset.resolution",),
        )


def validation_images_held_out(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A choice by validation accuracy needs held-out images."""
    if spec.evaluation.choose == "validation" and not spec.dataset.validation:
        yield Diagnostic(
            code="nothing-held-out",
            key="evaluation.choose",
            problem="no training images are held out for validation",
            hint="set dataset.validation = 0.1 to hold out a tenth of the training images",
            involves=("dataset.validation",),
        )


def training_images_left(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every class keeps at least one training image after some are held out."""
    if facts is None or not spec.dataset.validation:
        return
    fewest = min(facts.train_per_class)
    if fewest < 1:
        # At least one image per class is held out, so a smaller share would not help.
        smallest_class = facts.class_names[facts.train_per_class.index(fewest)]
        yield Diagnostic(
            code="nothing-held-out",
            key="dataset.validation",
            problem=f"class {short_text(smallest_class)} has no training images left after some "
            "are held out",
            hint="give every class at least two training images, or set dataset.validation = 0",
            involves=("dataset",),
        )


def experts_without_running_statistics(
    spec: Spec, facts: DatasetFacts | None
) -> Iterator[Diagnostic]:
    """Networks of experts, students and comparisons have no state besides their parameters.

    Batch norm has: its running statistics.
    """
    if not keeps_statistics(spec.network):
        return
    key = "network.norm" if isinstance(spec.network, ConvNet) else "network.name"
    yield Diagnostic(
        code="expert-with-statistics",
        key=key,
        problem="batch norm keeps running statistics, which trajectories of parameters do not hold"
        if isinstance(spec.matching, TrajectoryMatching)
        else "batch norm keeps running statistics, so the output of the network does not depend "
        "on its parameters alone, as comparing classes requires",
        hint=f"choose another {key}; to evaluate with batch norm, add "
        '"convnet_bn", "vgg11_bn" or "resnet18_bn" to evaluation.networks',
    )


def requested_classes_exist(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every class in dataset.classes is a class of the dataset and is listed once."""
    requested = spec.dataset.classes
    if requested is None:
        return
    repeated = next((name for name in requested if requested.count(name) > 1), None)
    if repeated is not None:
        yield Diagnostic(
            code="unknown-class",
            key="dataset.classes",
            problem=f"{short_text(repeated)} is listed {requested.count(repeated)} times",
            hint="list each class once",
        )
    known = facts.class_names if facts else requested
    for name in requested:
        if name not in known:
            similar = get_close_matches(name, known, n=3, cutoff=0.5)
            listed = ", ".join(map(short_text, known[:5]))
            yield Diagnostic(
                code="unknown-class",
                key="dataset.classes",
                problem=f'dataset "{spec.dataset.name}" has no class {short_text(name)}',
                hint=f"did you mean {' or '.join(map(short_text, similar))}?"
                if similar
                else f"its classes are {listed}{', ...' if len(known) > 5 else ''}",
                involves=("dataset.name",),
            )


def dataset_complete(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The dataset has all its images, or the spec asks for some of its classes.

    Missing classes are an error, because fewer classes are another problem; missing
    images are a warning.
    """
    deficit = missing_facts(spec.dataset.name, facts) if facts else None
    if facts is None or deficit is None:
        return
    fewer_classes = facts.classes < KNOWN[spec.dataset.name].classes
    unintended = fewer_classes and spec.dataset.classes is None
    yield Diagnostic(
        code="incomplete-dataset",
        key="dataset.name",
        problem=f"{deficit}; accuracies are not comparable with those on the whole dataset",
        hint="place all images in the data folder, list the classes you want in dataset.classes, "
        "or use --preview"
        if unintended
        else "place all images in the data folder",
        severity="error" if unintended and not spec.preview else "warning",
        involves=("dataset.classes",),
    )


LEAST_SPREAD = 0.002
"""Standard deviation of pixels in [0, 1] at or below which images count as all alike.

That of bytes that are 0 and 1 alone, where black is 0 and white 255, is just below it."""


def images_differ(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The images show something: their pixels do not all have one value."""
    if facts is not None and facts.fingerprint and max(facts.std) <= LEAST_SPREAD:
        shade = sum(facts.mean) / len(facts.mean)
        yield Diagnostic(
            code="constant-images",
            key="dataset.name",
            problem="all pixels of all training images have about the same value "
            f"({shade:.3g} from 0, black, to 1, white), so there is nothing to learn from them",
            hint="look at the images in the data folder; masks or images of 16 bits in few of "
            "their values look like this",
            severity="warning",
        )


def split_as_published(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Training and test images are split as in the literature."""
    difference = other_split(spec.dataset.name, facts) if facts else None
    if difference is not None:
        yield Diagnostic(
            code="other-split",
            key="dataset.name",
            problem=f"{difference}; published accuracies of {spec.dataset.name} do not apply",
            hint='place the published images, or name the folder as dataset "folder"',
            severity="warning",
        )
