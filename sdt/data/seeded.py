"""Random numbers as a pure function of (seed, stream, id): the same in any order, for any subset.

We do not use `numpy.random`: its streams may change between NumPy versions, and a draw would depend
on how many came before it.

There are two hashes: `bits` for the data, and `tie_breaker`, a SHA-256, for the splits into A and
B. One cannot replace the other, because that would change the draws of earlier runs.
"""

import hashlib
import zlib

import numpy as np
from jaxtyping import Float64, Int, Int64, Integer, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: UInt64[np.ndarray, "N"]) -> UInt64[np.ndarray, "N"]:
  """Mixes the bits of `x` in place and returns it; a bijection of uint64.

  Source: the finaliser of SplitMix64, Steele, Lea, Flood 2014.
  """
  x ^= x >> np.uint64(30)
  x *= _MIX_1
  x ^= x >> np.uint64(27)
  x *= _MIX_2
  x ^= x >> np.uint64(31)
  return x


def bits(seed: int, stream: str, ids: Integer[np.ndarray, "*N"]) -> UInt64[np.ndarray, "*N"]:
  """Returns 64 random bits per id.

  Args:
    seed: any integer >= 0.
    stream: name of the quantity; two names give independent numbers.
    ids: non-negative integers, any shape.

  Returns:
    uint64 of the shape of `ids`; equal ids have equal bits.
  """
  start = np.array([zlib.crc32(stream.encode())], dtype=np.uint64)
  with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the method
    key = _mix(_mix(start + _GOLDEN) ^ np.array([seed % 2**64], dtype=np.uint64))
    mixed = np.asarray(ids).astype(np.uint64)
    shape = mixed.shape
    mixed = mixed.reshape(-1)
    mixed *= _GOLDEN
    mixed += key
    return _mix(mixed).reshape(shape)


def uniform(seed: int, stream: str, ids: Integer[np.ndarray, "*N"]) -> Float64[np.ndarray, "*N"]:
  """Returns a number in [0, 1) per id: the upper 53 of its `bits`, divided by 2**53."""
  return (bits(seed, stream, ids) >> np.uint64(11)).astype(np.float64) / 2.0**53


def integers(
  seed: int, stream: str, ids: Integer[np.ndarray, "*N"], high: int
) -> Int64[np.ndarray, "*N"]:
  """Returns an integer in [0, high) per id; the bias is below high / 2**53."""
  return (uniform(seed, stream, ids) * high).astype(np.int64)


def largest_remainder(
  counts: Int[np.ndarray, "K"], num: int, most: Int[np.ndarray, "K"]
) -> Int64[np.ndarray, "K"]:
  """Returns how many of `num` places each group gets, in proportion to its count, int64 [K].

  All arithmetic is in integers, so the result is exact. Of equal remainders the first group's comes
  first; what a full group cannot take goes to the next.

  Args:
    counts: [K], the sizes of the groups.
    num: the places in all.
    most: [K], the most places that each group may get.
  """
  places, remainder = np.divmod(counts.astype(np.int64) * num, max(1, int(counts.sum())))
  places = np.minimum(places, most)
  order = np.argsort(-remainder, kind="stable")
  while places.sum() < num:
    not_full = order[places[order] < most[order]]
    places[not_full[: num - places.sum()]] += 1
  return places


def _allot(counts: Int[np.ndarray, "K"], num: int, leave_one: bool) -> Int64[np.ndarray, "K"]:
  """Returns how many of `num` places each class gets, see `stratified`."""
  most = counts - 1 if leave_one and num <= (counts - 1).sum() else counts
  places = largest_remainder(counts, num, most)
  wanting = np.flatnonzero((places == 0) & (most > 0))
  for label in wanting if num >= (most > 0).sum() else ():
    places[np.argmax(places)] -= 1
    places[label] = 1
  return places


def stratified(
  labels: Integer[np.ndarray, "N"],
  num: int,
  seed: int,
  stream: str,
  *,
  leave_one: bool = False,
  ids: Integer[np.ndarray, "N"] | None = None,
) -> Int64[np.ndarray, "num"]:
  """Returns the positions that a seeded stratified draw of `num` examples takes.

  Every class gets its share of `num` (largest remainder), and at least one if `num` is no less than
  the number of classes. Within a class the draw takes the examples with the smallest seeded hash of
  their position, or of their id.

  Args:
    labels: int [N], any values >= 0.
    num: how many to take, in [1, N].
    seed: seed of the draw.
    stream: name of the draw; two names give independent draws.
    leave_one: leave at least one example of every class behind, where `num` allows it.
    ids: int [N], unique; with ids the draw does not depend on the order of the examples. The
      positions by default.

  Returns:
    int64 [num] positions in `labels`, ascending.
  """
  _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
  places = _allot(counts, num, leave_one)
  order = np.lexsort((bits(seed, stream, np.arange(len(labels)) if ids is None else ids), classes))
  starts = np.cumsum(counts) - counts
  rank = np.arange(len(labels)) - np.repeat(starts, counts)
  return np.sort(order[rank < np.repeat(places, counts)])


def tie_breaker(
  example_ids: Integer[np.ndarray, "N"], seed: int, stream: str = "ties"
) -> UInt64[np.ndarray, "N"]:
  """Returns 64 random bits per id, of SHA-256(stream, seed, id); the same on every machine."""
  prefix = stream.encode() + b"\0" + int(seed).to_bytes(8, "little", signed=True)
  digests = (
    hashlib.sha256(prefix + int(example_id).to_bytes(8, "little", signed=True)).digest()[:8]
    for example_id in example_ids
  )
  return np.fromiter(
    (int.from_bytes(digest, "little") for digest in digests), np.uint64, len(example_ids)
  )
