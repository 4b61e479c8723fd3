"""The data card of an export: what the set is, how to train on it, and where it came from."""

import json
import re
from typing import assert_never

from ddspec.dsl.plan.steps import DatasetStep, DistillStep, EvaluateStep
from ddspec.dsl.record.record import Record
from ddspec.dsl.terminal_text import escape_text
from ddspec.dsl.terms import WHITENED, ExportForm, Protocol
from ddspec.engine.exchange.synthetic_file import SyntheticSet

LABELS_CSV = "image_labels.csv"
"""File of soft labels beside the folders of images, which cannot express them."""


def data_card(synthetic: SyntheticSet, record: Record, forms: tuple[ExportForm, ...]) -> str:
    """Return the data card: what the set is, how to train on it, and its origin."""
    facts, step = record.dataset, record.plan.distill
    assert isinstance(step, DistillStep)
    evaluated: EvaluateStep = record.plan.evaluations("distilled")[0]
    accuracy, dataset = record.results.accuracy, record.plan.dataset
    assert isinstance(dataset, DatasetStep)
    shape = f"{facts.channels} x {facts.height} x {facts.width}"
    lines = [
        f"# {plain(record.title or record.name)}",
        "",
        f"{facts.classes} classes with {step.synthetic.ipc} synthetic images each, of {shape}, "
        f"distilled from {plain(dataset.dataset.name)} by ddspec "
        f"{plain(record.environment.ddspec)}; "
        f"iteration {synthetic.iteration:,} of {step.matching.iterations:,}.",
        "",
    ]
    if record.plan.preview:
        lines += ["**A preview, shrunk to minutes: it says nothing about the method.**", ""]
    if record.outcome.status != "done":
        lines += [f"**The run did not end as planned ({record.outcome.status}).**", ""]
    if accuracy is not None:
        lines += [
            f"Test accuracy {accuracy.mean:.2f} +- {accuracy.std:.2f} % over {accuracy.n} fresh "
            f"networks ({accuracy.network}; chosen as `{accuracy.choose}`).",
            "",
        ]
    lines += ["## Files", "", *(f"- {form_in_words(form, synthetic)}" for form in forms), ""]
    lines += training(synthetic, evaluated)
    lines += [
        "## Origin",
        "",
        f"- plan `{record.plan.digest}`, images of fingerprint `{facts.fingerprint}`",
        "- the run's record and report reproduce it: `ddspec reproduce record.json`",
        *([f"- judged again: `{import_command(synthetic, record)}`"] if "pt" in forms else []),
        "- it is derived from the dataset named above, whose terms of use apply to it",
        "",
        "Classes, in the order of their labels: "
        + ", ".join(f"{i} {plain(name)}" for i, name in enumerate(facts.class_names)),
        "",
    ]
    return "\n".join(lines)


def import_command(synthetic: SyntheticSet, record: Record) -> str:
    """Return the command that imports the .pt files of an export."""
    dataset = record.plan.dataset.dataset
    words = [
        "ddspec import --synthetic images_best.pt --labels labels_best.pt --lr lr_best.pt",
        f"--dataset {dataset.name}",
        f"--iteration {synthetic.iteration}",
    ]
    if dataset.whitening is not None:
        words.append(f"--pixels {WHITENED[dataset.whitening]}")
    else:
        mean, std = (
            ",".join(repr(value) for value in synthetic.preprocessing[key].tolist())
            for key in ("mean", "std")
        )
        words.append(f"--pixels normalized --mean {mean} --std {std}")
    words += [f"--resolution {dataset.resolution}"] if dataset.resolution is not None else []
    words += ["--logits"] if synthetic.is_soft else []
    return " ".join(words)


def form_in_words(form: ExportForm, synthetic: SyntheticSet) -> str:
    """Return which files a form has, and how to read them."""
    match form:
        case "images":
            words = (
                "`images/`: a PNG per image in a folder per class, to look at; clipped to [0, 1] "
                "and rounded to 8 bits, so train on the arrays"
            )
            return f"{words}; `{LABELS_CSV}`: their labels" if synthetic.is_soft else words
        case "npz":
            return "`synthetic.npz`: all arrays, for `numpy.load` without pickle"
        case "hdf5":
            vectors = ", and `whitening.h5` with `zca_vectors`" if is_whitened(synthetic) else ""
            return f"`synthetic.h5`: the file of the run folder{vectors}"
        case "pt":
            labels = (
                "the logarithms of the probabilities, which are logits: take their softmax, as "
                "the public code of DATM does"
                if synthetic.is_soft
                else "class numbers"
            )
            return (
                "`images_best.pt`, `labels_best.pt`, `lr_best.pt`: tensors as the public code of "
                f"trajectory matching reads them. The labels are {labels}; the last file is the "
                "learning rate to train with"
            )
        case _:
            assert_never(form)


def is_whitened(synthetic: SyntheticSet) -> bool:
    """Return whether the images are whitened, not normalised by channel."""
    return "zca_mean" in synthetic.preprocessing


def training(synthetic: SyntheticSet, step: EvaluateStep) -> list[str]:
    """Return how networks were trained to get the accuracy."""
    if is_whitened(synthetic):
        arrays = synthetic.preprocessing
        contrast = "minus the image's own mean, divided by its norm, "
        own = contrast if "zca_contrast" in arrays else ""
        scaled = ", divided by `zca_scale`" if "zca_scale" in arrays else ""
        prepared = (
            "The arrays are whitened. Transform test images in the same way: pixels in [0, 1], "
            f"channels first and flat, {own}minus `zca_mean`{scaled}, times "
            "V diag((`zca_values` + `zca_epsilon`)^-1/2) V', V being `zca_vectors`."
        )
    else:
        mean, std = (synthetic.preprocessing[key].tolist() for key in ("mean", "std"))
        prepared = (
            f"The arrays are normalised: (pixels in [0, 1] - {mean}) / {std}. Normalise test "
            "images in the same way."
        )
    families = ", ".join(step.augmentation.families) or "none"
    network = step.network.model_dump(mode="json")
    given = step.evaluation.lr
    rate = f"{synthetic.student_lr:.6g}, as learned" if given is None else f"{given:.6g}"
    if step.evaluation.lr_search is not None:
        rate = f"{synthetic.student_lr:.6g}, the best on held-out images"
    optimiser, decay = "SGD with learning rate", ", momentum 0.9, weight decay 0.0005"
    if step.evaluation.protocol in ("rat_bptt", "frepo"):
        optimiser, decay = "Adam with learning rate", ""
    return [
        "## How to train on it",
        "",
        f"- {prepared}",
        f"- {labels_in_words(synthetic, step)}",
        f"- {optimiser} {rate}{decay}, batches of {step.evaluation.batch_size}, shuffled.",
        f"- {step.evaluation.epochs} epochs; {DROPS[step.evaluation.protocol]}.",
        f"- Differentiable siamese augmentation on training batches: {families}.",
        f"- Network: `{json.dumps(network)}`.",
        "",
    ]


def labels_in_words(synthetic: SyntheticSet, step: EvaluateStep) -> str:
    """Return what the labels are."""
    form = step.synthetic.labels.name
    return OTHER_LABELS.get(form) or LABELS_IN_WORDS[synthetic.is_soft]


OTHER_LABELS = {
    "unnormalized": "Labels are weights of the classes, a row per image; use cross-entropy on "
    "them as they are.",
    "regression": "Labels are targets of a regression, a row per image: they sum to about zero.",
}
"""What labels are that are neither classes nor probabilities."""

LABELS_IN_WORDS = {
    False: "Labels are class numbers.",
    True: "Labels are probabilities, a row per image; use cross-entropy on them. Only "
    "`labels_best.pt` has logits instead.",
}

NEW_OPTIMISER = (
    "after (epochs - 1) // 2 + 2 of them a tenth of the learning rate, with a new optimiser"
)
DROPS: dict[Protocol, str] = {
    "mtt": NEW_OPTIMISER,
    "datm": NEW_OPTIMISER,
    "dc": NEW_OPTIMISER,
    "ast": "after (epochs - 1) // 2 + 2 of them half of the learning rate and momentum 0.8, with a "
    "new optimiser; weight decay 0.001; the best of tests after epochs 1, 21, 41, ... counts",
    "dd_ranking": "from epochs // 2 on a tenth of the learning rate, the momentum being kept; the "
    "best of tests every 10 epochs after four fifths of them counts",
    "rat_bptt": "the best of tests after epochs 300, 600, 1000 and 3000 counts",
    "frepo": "the loss is half of the squared error to the labels, summed over classes; the "
    "learning rate rises from 0 in 500 steps and falls to a hundredth along half a cosine",
}
"""How training changes on its way, by protocol."""


def plain(text: str) -> str:
    """Return a stranger's text on one line, without meaning to Markdown or HTML."""
    return escape_text(" ".join(re.sub(r"[\[\]()<>`*_#|\\]+", " ", text).split()))
