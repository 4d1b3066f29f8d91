"""Stages of blocks: shared by the residual networks (plain and wide) and VGG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sdt.errors import ConfigError

# A bottleneck block has so many times its width of output channels.
BOTTLENECK_EXPANSION = 4


def block_convolutions(
  width: int, stride: int, *, bottleneck: bool
) -> tuple[tuple[int, int, int], ...]:
  """Returns (channels, kernel size, stride) of each convolution of a residual block.

  A basic block: 3x3 (stride), 3x3. A bottleneck: 1x1, 3x3 (stride), 1x1 to 4 * width.

  Source: He et al. 2016, figure 5.
  """
  if bottleneck:
    return (width, 1, 1), (width, 3, stride), (width * BOTTLENECK_EXPANSION, 1, 1)
  return (width, 3, stride), (width, 3, 1)


def residual_blocks(
  blocks: tuple[int, ...], widths: tuple[int, ...]
) -> Iterator[tuple[str, float, int, int]]:
  """Yields (name, depth, width, stride) of each block in order.

  Every stage but the first begins with stride 2. The depth of block l of L is l / L.

  Args:
    blocks: number of blocks of each stage.
    widths: channels of each stage.
  """
  number = 0
  for stage, (num_blocks, width) in enumerate(zip(blocks, widths, strict=True), start=1):
    for block in range(1, num_blocks + 1):
      number += 1
      stride = 2 if stage > 1 and block == 1 else 1
      yield f"stage{stage}_block{block}", number / sum(blocks), width, stride


def combine_stages(
  arguments: dict[str, Any], changes: Mapping[str, Any], name: str
) -> dict[str, Any]:
  """Returns the arguments with `blocks` and `widths` changed; a `combine` of `Network`.

  If only one of them is changed, the other must have as many stages. `blocks` of None are one block
  for each stage.

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


def keep_number_of_widths(
  arguments: dict[str, Any], changes: Mapping[str, Any], name: str
) -> dict[str, Any]:
  """Returns the arguments with `widths` changed to as many others; a `combine` of `Network`.

  Raises:
    ConfigError: there are more or fewer.
  """
  widths, own = changes.get("widths", ()), arguments["widths"]
  if widths and len(widths) != len(own):
    raise ConfigError(
      f"model.widths={tuple(widths)} of model.name={name!r}: expected {len(own)}, one for each "
      f"convolution, such as {own}"
    )
  return {**arguments, **changes}


def blocks_of_depth(depth: int, unit: int, others: int, name: str) -> int:
  """Returns n = 1, 2, ... of depth = unit * n + others.

  Args:
    depth: number of layers.
    unit: layers in what is repeated n times.
    others: layers that are not repeated.
    name: of the network, for the message.

  Raises:
    ConfigError: there is no such n; the message has the form and the nearest depths.
  """
  num, rest = divmod(depth - others, unit)
  if rest or num < 1:
    below = max(num, 1) * unit + others
    raise ConfigError(
      f"model.depth={depth} of model.name={name!r}: expected {unit} n + {others} with n = 1, 2, "
      f"..., such as {below} or {below + unit}"
    )
  return num
