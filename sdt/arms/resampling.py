"""Subsets in which all classes are equally frequent: over-, under- and cluster-based sampling; and
the nearest examples of a class.

A position may be there several times. All seeds get the same numbers of examples; which ones are
repeated, or left out, is drawn by the seed.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, Int32, Int64, Shaped

from sdt.data.seeded import tie_breaker

# Clusters of a class, at most; no cluster is to have fewer examples than this, on average.
_MOST_CLUSTERS, _LEAST_EXAMPLES = 4, 5
_ITERATIONS = 30
_MOST_PIXELS = 16  # a side, of the images that are clustered
# Means of pixels are rounded to so small a part; distances of whole numbers have no rounding error.
_EXACT = 256
_ROWS = 1024  # of distances that are in memory at a time


def over_sampled(
  groups: Int[np.ndarray, "N"], ids: Int[np.ndarray, "N"], seed: int
) -> Int32[np.ndarray, "M"]:
  """Returns positions with which every group is as frequent as the largest, ascending.

  Every example is there, and those of small groups several times: the numbers of times differ by
  at most one within a group.

  Source: document 003, over-sampling. Differs from source: no example is left out by chance.

  Args:
    groups: [N], the group of every example, such as its class.
    ids: [N], unique.
    seed: of the draw.
  """
  present, counts = np.unique(groups, return_counts=True)
  return repeated(groups, ids, dict.fromkeys(present.tolist(), int(counts.max())), seed=seed)


def under_sampled(
  groups: Int[np.ndarray, "N"], ids: Int[np.ndarray, "N"], seed: int
) -> Int32[np.ndarray, "M"]:
  """Returns positions with which every group is as rare as the smallest, ascending; see above.

  Source: document 003, under-sampling.
  """
  present, counts = np.unique(groups, return_counts=True)
  return repeated(groups, ids, dict.fromkeys(present.tolist(), int(counts.min())), seed=seed)


def cluster_sampled(
  labels: Int[np.ndarray, "N"],
  clusters: Int[np.ndarray, "N"],
  ids: Int[np.ndarray, "N"],
  *,
  seed: int,
) -> Int32[np.ndarray, "M"]:
  """Returns positions with which all classes, and the clusters of each, are equally frequent.

  Every class gets the same number T, the smallest one that leaves no example out; it is divided
  among its clusters to within one.

  Source: Jo and Japkowicz 2004, "Class imbalances versus small disjuncts", section 4; document 003.
  Differs from source: T is set by the class that needs most, which need not be the largest.

  Args:
    labels: [N].
    clusters: [N], of every example; two classes share none.
    ids: [N], unique.
    seed: of the draw.
  """
  of_class = {int(one): np.unique(clusters[labels == one]) for one in np.unique(labels)}
  sizes = np.bincount(clusters)
  total = max(len(own) * int(sizes[own].max()) for own in of_class.values())
  targets = {
    int(cluster): total // len(own) + (place < total % len(own))
    for own in of_class.values()
    for place, cluster in enumerate(own)
  }
  return repeated(clusters, ids, targets, seed=seed)


def repeated(
  groups: Int[np.ndarray, "N"], ids: Int[np.ndarray, "N"], targets: dict[int, int], *, seed: int
) -> Int32[np.ndarray, "M"]:
  """Returns positions with which each group has its target of examples, ascending, int32.

  A group is gone through in a seeded order, as often as it takes.
  """
  order = np.lexsort((tie_breaker(ids, seed, "resampling"), groups))
  taken = [np.resize(order[groups[order] == group], count) for group, count in targets.items()]
  return np.sort(np.concatenate(taken)).astype(np.int32)


def clusters_of(
  inputs: Shaped[np.ndarray, "N ..."],
  labels: Int[np.ndarray, "N"],
  ids: Int[np.ndarray, "N"],
  *,
  seed: int,
) -> Int64[np.ndarray, "N"]:
  """Returns the cluster of every example, by k-means on the pixels within each class.

  A class of n examples has min(4, n // 5) clusters, at least one. Large images are averaged down to
  at most 16 pixels a side.

  Args:
    inputs: [N, H, W, C] images or [N, D] vectors.
    labels: [N].
    ids: [N], unique.
    seed: of the examples at which the clusters begin.
  """
  points, clusters, first = _points(inputs), np.zeros(len(labels), np.int64), 0
  for one in np.unique(labels):
    members = np.flatnonzero(labels == one)
    members = members[np.argsort(tie_breaker(ids[members], seed, "clusters"), kind="stable")]
    number = max(1, min(_MOST_CLUSTERS, len(members) // _LEAST_EXAMPLES))
    clusters[members] = first + _k_means(points[members].astype(np.float64), number)
    first += number
  return np.unique(clusters, return_inverse=True)[1]


def nearest_of_class(
  inputs: Shaped[np.ndarray, "N ..."],
  labels: Int[np.ndarray, "N"],
  ids: Int[np.ndarray, "N"],
  number: int,
) -> Int32[np.ndarray, "N k"]:
  """Returns the positions of the nearest examples of the same class, the nearest first.

  Near is by the Euclidean distance of the inputs, large images as in `clusters_of`; of equally near
  ones the lower id comes first. Distances of images are exact, so that every machine finds the
  same. -1 stands where a class has too few examples.

  Args:
    inputs: [N, H, W, C] images or [N, D] vectors.
    labels: [N].
    ids: [N], unique.
    number: k.
  """
  points = _points(inputs).astype(np.float64)
  points = np.rint(points * _EXACT) if inputs.ndim == 4 else points
  found = np.full((len(labels), number), -1, np.int32)
  for one in np.unique(labels):
    members = np.flatnonzero(labels == one)
    members = members[np.argsort(ids[members], kind="stable")]
    for start in range(0, len(members), _ROWS):
      part = members[start : start + _ROWS]
      distances = _squared_distances(points[part], points[members])
      distances[np.arange(len(part)), start + np.arange(len(part))] = np.inf
      nearest = np.argsort(distances, axis=1, kind="stable")[:, : min(number, len(members) - 1)]
      found[part, : nearest.shape[1]] = members[nearest]
  return found


def _points(inputs: Shaped[np.ndarray, "N ..."]) -> Shaped[np.ndarray, "N D"]:
  if inputs.ndim != 4:
    return inputs
  num, height, width, channels = inputs.shape
  down, across = -(-height // _MOST_PIXELS), -(-width // _MOST_PIXELS)
  rows, columns = height // down, width // across
  cut = inputs[:, : rows * down, : columns * across]
  if down * across > 1:
    blocks = cut.reshape(num, rows, down, columns, across, channels)
    cut = blocks.mean(axis=(2, 4), dtype=np.float32)
  return cut.reshape(num, -1)


def _k_means(points: Float64[np.ndarray, "n D"], number: int) -> Int64[np.ndarray, "n"]:
  """Returns the nearest of `number` centres, which begin at the first points; Lloyd's iteration."""
  centres = points[:number]
  nearest = np.zeros(len(points), np.int64)
  for _ in range(_ITERATIONS):
    before, nearest = nearest, np.argmin(_squared_distances(points, centres), axis=1)
    if (before == nearest).all():
      break
    kept = [points[nearest == one].mean(axis=0) for one in np.unique(nearest)]
    centres = np.stack(kept)
  return nearest


def _squared_distances(
  points: Float[np.ndarray, "n D"], centres: Float[np.ndarray, "k D"]
) -> Float[np.ndarray, "n k"]:
  """Returns the squared distances, without the term that is the same for all centres."""
  return np.square(centres).sum(axis=1) - 2.0 * points @ centres.T
