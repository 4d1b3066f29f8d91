"""Stages of blocks: what the residual networks, plain and wide, and VGG have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sdt.errors import ConfigError

# A bottleneck block ends with so many times its width.
BOTTLENECK_EXPANSION = 4


def block_convolutions(
  width: int, stride: int, *, bottleneck: bool
) -> tuple[tuple[int, int, int], ...]:
  """Returns (channels, kernel size, stride) of each convolution of a residual block.

  A basic block: 3x3 (stride), 3x3. A bottleneck: 1x1, 3x3 (stride), 1x1 to 4 * width. Source: He et
  al. 2016, figure 5.
  """
  if bottleneck:
    return (width, 1, 1), (width, 3, stride), (width * BOTTLENECK_EXPANSION, 1, 1)
  return (width, 3, stride), (width, 3, 1)


def residual_blocks(
  blocks: tuple[int, ...], widths: tuple[int, ...]
) -> Iterator[tuple[str, float, int, int]]:
  """Yields (name, depth, width, stride) of each block in order; every stage but the first begins
  with stride 2.

  The depth of block l of L is l / L.
  """
  number = 0
  for stage, (num_blocks, width) in enumerate(zip(blocks, widths, strict=True), start=1):
    for block in range(1, num_blocks + 1):
      number += 1
      yield (
        f"stage{stage}_block{block}",
        number / sum(blocks),
        width,
        2 if stage > 1 and block == 1 else 1,
      )


def combine_stages(
  arguments: dict[str, Any], changes: Mapping[str, Any], name: str
) -> dict[str, Any]:
  """Returns the arguments with `blocks` and `widths` as changed; a `combine` of `Network`.

  Given alone, each keeps the network's own other one, which must have as many stages. A network
  whose `blocks` are None has one a stage.

  Raises:
    ConfigError: blocks and widths differ in length, or the zero-padded shortcut would have to drop
      channels.
  """
  arguments = {**arguments, **changes}
  blocks, widths = arguments["blocks"], tuple(arguments["widths"])
  blocks = (1,) * len(widths) if blocks is None else tuple(blocks)
  if len(blocks) != len(widths):
    raise ConfigError(
      f"model.blocks={blocks} and model.widths={widths} of model.name={name!r} need a value per "
      "stage each; give both"
    )
  if arguments.get("shortcut") == "zero_pad" and list(widths) != sorted(widths):
    raise ConfigError(
      f"model.shortcut='zero_pad' adds channels and cannot drop any: model.widths={widths} must "
      "not fall; use 'projection'"
    )
  return {**arguments, "blocks": blocks, "widths": widths}


def blocks_of_depth(depth: int, unit: int, others: int, name: str) -> int:
  """Returns n of depth = unit * n + others, where n = 1, 2, ... counts what is repeated.

  Raises:
    ConfigError: no such n; the message names the form and the nearest depths.
  """
  num, rest = divmod(depth - others, unit)
  if rest or num < 1:
    below = max(num, 1) * unit + others
    raise ConfigError(
      f"model.depth={depth} of model.name={name!r}: expected {unit} n + {others} with n = 1, 2, "
      f"..., such as {below} or {below + unit}"
    )
  return num
