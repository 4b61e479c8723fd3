"""Publications of the datasets that specs name, as facts for their citation."""

from collections.abc import Mapping
from typing import get_args

from ddspec.dsl.facts.publications import METHODS_BY_KEY, Publication
from ddspec.dsl.terms import ImageNetSubset

CIFAR = Publication(
    key="krizhevsky2009cifar",
    title="Learning Multiple Layers of Features from Tiny Images",
    authors=("Krizhevsky, Alex",),
    year=2009,
    venue="University of Toronto",
    kind="techreport",
)
IMAGENET = Publication(
    key="deng2009imagenet",
    title="ImageNet: A Large-Scale Hierarchical Image Database",
    authors=(
        "Deng, Jia",
        "Dong, Wei",
        "Socher, Richard",
        "Li, Li-Jia",
        "Li, Kai",
        "Fei-Fei, Li",
    ),
    year=2009,
    venue="IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    pages="248--255",
)


def of_imagenet_subset() -> tuple[Publication, ...]:
    """Return the publications of a subset: ImageNet, and MTT, which chose the classes."""
    return (IMAGENET, METHODS_BY_KEY["cazenavette2022mtt"])


DATASETS: Mapping[str, tuple[Publication, ...]] = {
    "digits": (
        Publication(
            key="alpaydin1998digits",
            title="Optical Recognition of Handwritten Digits",
            authors=("Alpaydin, E.", "Kaynak, C."),
            year=1998,
            venue="UCI Machine Learning Repository",
            kind="misc",
        ),
    ),
    "mnist": (
        Publication(
            key="lecun1998mnist",
            title="Gradient-Based Learning Applied to Document Recognition",
            authors=("LeCun, Yann", r"Bottou, L{\'e}on", "Bengio, Yoshua", "Haffner, Patrick"),
            year=1998,
            venue="Proceedings of the IEEE",
            pages="2278--2324",
            kind="article",
        ),
    ),
    "fashion_mnist": (
        Publication(
            key="xiao2017fashion",
            title="Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
            "Algorithms",
            authors=("Xiao, Han", "Rasul, Kashif", "Vollgraf, Roland"),
            year=2017,
            arxiv="1708.07747",
            kind="misc",
        ),
    ),
    "svhn": (
        Publication(
            key="netzer2011svhn",
            title="Reading Digits in Natural Images with Unsupervised Feature Learning",
            authors=(
                "Netzer, Yuval",
                "Wang, Tao",
                "Coates, Adam",
                "Bissacco, Alessandro",
                "Wu, Bo",
                "Ng, Andrew Y.",
            ),
            year=2011,
            venue="NIPS Workshop on Deep Learning and Unsupervised Feature Learning",
        ),
    ),
    "cifar10": (CIFAR,),
    "cifar100": (CIFAR,),
    "tiny_imagenet": (
        Publication(
            key="le2015tinyimagenet",
            title="Tiny ImageNet Visual Recognition Challenge",
            authors=("Le, Ya", "Yang, Xuan S."),
            year=2015,
            kind="misc",
        ),
        IMAGENET,
    ),
    **dict.fromkeys(get_args(ImageNetSubset), of_imagenet_subset()),
    "folder": (),
}
"""Publications of each dataset; a folder of your own images has none that is known here."""
