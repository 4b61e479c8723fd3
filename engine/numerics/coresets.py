"""Coresets: real images that represent their class, chosen by features of a network."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from ddspec.dsl.terms import NeverLearned

K_MEANS_STARTS = 10
"""Runs of k-means from different centres, of which the best is kept."""


@dataclass(frozen=True)
class Representatives:
    """The clusters that k-means found in a class, and the images chosen to represent them."""

    chosen: Int[np.ndarray, " ipc"]
    clusters: Int[np.ndarray, " n"]
    """Cluster number of every image of the class."""


def representatives(
    features: Float[np.ndarray, "n f"], ipc: int, clusters: int, seed: int
) -> Representatives:
    """Choose the real images nearest to the centres of k-means (AST, arXiv:2310.10541).

    Every centre gets ipc // clusters images; the remaining ones go one by one to the largest
    clusters. Centres choose in order of cluster size, largest first, and each takes the nearest
    images of the class that no earlier centre has taken.
    """
    from sklearn.cluster import KMeans

    # One thread, because the order in which several threads add up differs between runs.
    with threadpool_limits(1):
        fit = KMeans(clusters, n_init=K_MEANS_STARTS, random_state=seed % 2**32).fit(features)
    members = np.bincount(fit.labels_, minlength=clusters)
    by_size = np.argsort(-members, kind="stable")
    chosen: list[int] = []
    for rank, cluster in enumerate(by_size):
        share = ipc // clusters + (rank < ipc % clusters)
        distances = np.square(features - fit.cluster_centers_[cluster]).sum(1)
        distances[chosen] = np.inf  # no image is taken twice
        chosen += np.argsort(distances, kind="stable")[:share].tolist()
    return Representatives(np.array(chosen, dtype=np.int64), fit.labels_.astype(np.int64))


def two_components(
    features: Float[np.ndarray, "n f"],
) -> Float[np.ndarray, "n 2"]:
    """Project features onto their first two principal components, for a picture.

    A component that too few images or features cannot have is zero.
    """
    from sklearn.decomposition import PCA

    flat = np.zeros((len(features), 2), dtype=np.float32)
    components = min(2, *features.shape)
    if len(features) == 1:
        return flat
    with threadpool_limits(1):
        projected = PCA(components, svd_solver="full").fit_transform(features)
    flat[:, :components] = projected
    return flat


def herding(features: Float[np.ndarray, "n f"], ipc: int) -> Int[np.ndarray, " ipc"]:
    """Choose images whose running mean stays nearest to the class mean (Welling, ICML 2009).

    Image i + 1 is the one that brings the sum of the chosen images nearest to (i + 1) times the
    class mean.
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


def k_center(features: Float[np.ndarray, "n f"], ipc: int) -> Int[np.ndarray, " ipc"]:
    """Choose the image nearest to the mean, then repeatedly the one farthest from all chosen.

    The greedy 2-approximation of the k-center problem (Sener and Savarese, arXiv:1708.00489).
    """
    chosen = [int(np.square(features - features.mean(0)).sum(1).argmin())]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < ipc:
        latest = np.square(features - features[chosen[-1]]).sum(1)
        nearest = np.minimum(nearest, latest)
        nearest[chosen] = -1.0  # below every squared distance, so never chosen again
        chosen.append(int(nearest.argmax()))
    return np.array(chosen, dtype=np.int64)


def forgetting(
    correct: Bool[np.ndarray, "epochs n"], ipc: int, never_learned: NeverLearned = "chosen"
) -> Int[np.ndarray, " ipc"]:
    """Choose images that turn from correct to wrong most often over the epochs.

    Of images forgotten equally often, the first is chosen. An image that is never classified
    correctly counts as forgotten more often than any other (Toneva et al., arXiv:1812.05159), or
    less often if such images are left out.
    """
    forgotten = (correct[:-1] & ~correct[1:]).sum(0)
    rank = {"chosen": len(correct), "left_out": -1}
    forgotten = np.where(correct.any(0), forgotten, rank[never_learned])
    return np.argsort(-forgotten, kind="stable")[:ipc].astype(np.int64)
