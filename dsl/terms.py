"""The names that a spec may choose from, each written once.

A function in the engine implements each name. It is chosen by `match`, which ends with
`assert_never`, so the type checker reports a name that nothing implements.
"""

from typing import Annotated, Literal

from pydantic import Field

LANGUAGE = 1
"""Version of the language. The defaults of a version never change."""

ImageNetSubset = Literal[
    "imagenette", "imagewoof", "imagefruit", "imagemeow", "imagesquawk", "imageyellow"
]
DatasetName = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "svhn",
    "cifar10",
    "cifar100",
    "tiny_imagenet",
    "imagenette",
    "imagewoof",
    "imagefruit",
    "imagemeow",
    "imagesquawk",
    "imageyellow",
    "folder",
]
ColorName = Literal["auto", "grey", "rgb"]
AlphaName = Literal["refuse", "white", "black"]
Fit = Literal["crop", "stretch"]
PlainNetworkName = Literal[
    "mlp", "lenet", "alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet18_bn", "resnet18_ap"
]
FieldNetworkName = Literal[
    "convnet",
    "convnet_bn",
    "mlp",
    "lenet",
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "resnet18",
    "resnet18_bn",
    "resnet18_ap",
]
"""Networks of the field, by which it trains and judges."""

NetworkName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_./-]{0,139}$")]
"""A network that judges: of the field, a variant of its ConvNet, of a library or an extension."""

PackageName = Literal["torchvision", "timm"]
Norm = Literal["instance", "batch", "layer", "group", "none"]
Pooling = Literal["average", "max", "none"]
Widths = Literal["constant", "doubling"]
Initialisation = Literal["torch", "lecun"]
Activation = Literal["relu", "leaky_relu", "sigmoid", "swish"]
AugmentationFamily = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]
Precision = Literal["float32", "tf32", "bfloat16"]
Statistics = Literal["own", "public_code"]
PenaltyNorm = Literal["sample", "pixel"]
PenaltyInput = Literal["augmented", "clean"]
PenaltySides = Literal["both", "above"]
Features = Literal["penultimate", "logits"]
NeverLearned = Literal["chosen", "left_out"]
RatePositivity = Literal["stop", "hold", "free"]
OuterGradient = Literal["exact", "tesla"]
GradientDistance = Literal["layerwise_cosine", "cosine", "squared"]
"""Distances of the gradients of real and synthetic images."""

MatchedStep = Literal["last", "nearest"]
IntermediateWeights = Literal["equal", "growing"]
IntermediatePoints = Literal["floor", "multiples"]
ParameterOrder = Literal["depth", "error"]
PerturbationScale = Literal["filter", "elementwise"]
Denominator = Literal["perturbed", "expert"]
GradientGuard = Literal["clip", "skip"]
FreeStepsDrawn = Literal["per_pass", "per_iteration"]
Sampling = Literal["continuous", "discrete", "uniform_lambda"]
CurveSampling = Literal["continuous", "discrete"]
Spacing = Literal["path", "path_per_tensor", "uniform", "decreasing", "projected"]
WhiteningForm = Literal["mtt", "frepo", "kip"]
"""Forms of ZCA whitening in the field's code; `dataset.zca = true` is that of MTT."""

PixelSpaceName = Literal["unit", "normalized", "whitened", "whitened_frepo", "whitened_kip"]
"""What the numbers of an imported set's pixels are."""

WHITENED: dict[WhiteningForm, PixelSpaceName] = {
    "mtt": "whitened",
    "frepo": "whitened_frepo",
    "kip": "whitened_kip",
}
"""Spaces of whitened pixels."""

Choice = Literal["last", "best_on_test", "validation"]
PublishedOver = Literal["run", "sweep"]
Protocol = Literal["mtt", "ast", "datm", "dc", "dd_ranking", "rat_bptt", "frepo"]
BEST_EPOCH_PROTOCOLS: dict[Protocol, str] = {
    "ast": "AST",
    "dd_ranking": "DD-Ranking",
    "rat_bptt": "RaT-BPTT",
}
"""Protocols that take the best of many tests of a network, with whose public code they are of."""

StepKind = Literal[
    "dataset", "scores", "experts", "trajectory", "path", "initialise", "distill", "evaluate"
]
Baseline = Literal[
    "random_real",
    "random_real_expert_labels",
    "full_data",
    "distilled_hard_labels",
    "distilled_plain",
    "random_real_plain",
]
"""What fresh networks are trained on for comparison with the synthetic set."""

Subject = Literal["distilled", Baseline]
"""What fresh networks are trained on in an evaluation."""

Device = Literal["cpu", "cuda"]
AssumedDevice = Literal["a100", "h100", "h200", "rtx4090"]
"""GPUs for which costs can be estimated without having one."""
StudentGraph = Literal["kept", "recomputed"]

ExportForm = Literal["images", "npz", "hdf5", "pt"]
"""Export formats of a synthetic set."""
