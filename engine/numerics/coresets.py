"""Which real images of a class stand for it: indices chosen from features of a trained network."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

K_MEANS_STARTS = 10
"""Runs of k-means from different centres, of which the best is kept."""


@dataclass(frozen=True)
class Representatives:
    """What k-means found in a class, and which images stand for it."""

    chosen: Int[NDArray[np.int64], " ipc"]
    clusters: Int[NDArray[np.int64], " n"]
    """Cluster of every image of the class."""


def representatives(
    features: Float[NDArray[np.float32], "n f"], ipc: int, clusters: int, seed: int
) -> Representatives:
    """Real images nearest to the centres of k-means (AST, arXiv:2310.10541).

    Every centre is given ipc // clusters images, what is left over goes one by one to the largest
    clusters; a centre takes the nearest images of the class that no centre before it has taken,
    the largest clusters first.
    """
    from sklearn.cluster import KMeans

    # One thread: the order in which threads add up is not the same each time.
    with threadpool_limits(1):
        found = KMeans(clusters, n_init=K_MEANS_STARTS, random_state=seed % 2**32).fit(features)
    members = np.bincount(found.labels_, minlength=clusters)
    by_size = np.argsort(-members, kind="stable")
    chosen: list[int] = []
    for place, cluster in enumerate(by_size):
        share = ipc // clusters + (place < ipc % clusters)
        distances = np.square(features - found.cluster_centers_[cluster]).sum(1)
        distances[chosen] = np.inf
        chosen += np.argsort(distances, kind="stable")[:share].tolist()
    return Representatives(np.array(chosen, dtype=np.int64), found.labels_.astype(np.int64))


def two_components(
    features: Float[NDArray[np.float32], "n f"],
) -> Float[NDArray[np.float32], "n 2"]:
    """The features in their first two principal components, for a picture.

    Zeros stand for a component that so few images or features do not have.
    """
    from sklearn.decomposition import PCA

    flat = np.zeros((len(features), 2), dtype=np.float32)
    components = min(2, *features.shape)
    if len(features) == 1:
        return flat
    with threadpool_limits(1):
        found = PCA(components, svd_solver="full").fit_transform(features)
    flat[:, :components] = found
    return flat


def herding(
    features: Float[NDArray[np.float32], "n f"], ipc: int
) -> Int[NDArray[np.int64], " ipc"]:
    """Images whose running mean stays nearest to the class mean (Welling, ICML 2009).

    Image i + 1 is the one that brings the sum of the chosen ones nearest to (i + 1) times the mean.
    """
    mean, total = features.mean(0), np.zeros(features.shape[1], dtype=np.float64)
    chosen: list[int] = []
    for count in range(1, ipc + 1):
        distances = np.square(count * mean - total - features).sum(1)
        distances[chosen] = np.inf
        best = int(distances.argmin())
        chosen.append(best)
        total = total + features[best]
    return np.array(chosen, dtype=np.int64)


def k_center(
    features: Float[NDArray[np.float32], "n f"], ipc: int
) -> Int[NDArray[np.int64], " ipc"]:
    """The image nearest to the mean, then always the one farthest from all chosen ones.

    The greedy 2-approximation of the k-center problem (Sener and Savarese, arXiv:1708.00489).
    """
    chosen = [int(np.square(features - features.mean(0)).sum(1).argmin())]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < ipc:
        latest = np.square(features - features[chosen[-1]]).sum(1)
        nearest = np.minimum(nearest, latest)
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return np.array(chosen, dtype=np.int64)


def forgetting(
    correct: Bool[NDArray[np.bool_], "epochs n"], ipc: int
) -> Int[NDArray[np.int64], " ipc"]:
    """Images that turn from right to wrong most often over the epochs; of equals the first.

    Images that are never right count as forgotten more often than any other (Toneva et al.,
    arXiv:1812.05159).
    """
    forgotten = (correct[:-1] & ~correct[1:]).sum(0)
    forgotten = np.where(correct.any(0), forgotten, len(correct))
    return np.argsort(-forgotten, kind="stable")[:ipc].astype(np.int64)
