"""The views under which a network is asked about an image, by name: `"flip shifts(1)"`."""

import dataclasses
import itertools
import types
from collections.abc import Callable, Mapping

from sdt.config.toolbox.block import Block, Number, Table
from sdt.config.toolbox.parse import parse_calls

_MEAN_OF_CROPS = "Krizhevsky et al. 2012, section 4.1; document 003"

# The network's answer is the mean of the probabilities over all views. Each block makes of every
# view so far one or several, so `flip shifts(1)` are 18.
VIEWS: Table = types.MappingProxyType(
  {
    "centre": Block("the middle of the image, as evaluation sees it: one view", "the paper"),
    "flip": Block("each view, and its mirror image: two", "documents 002 and 003"),
    "shifts": Block(
      "moves the view by 0 or by so many pixels, either way, along each side: nine; black beyond "
      "the image",
      "the paper's crops, at test time",
      (Number("pixels", 1.0, low=1, high=64, whole=True),),
    ),
    "crops": Block(
      "views of data.crop_size in the middle and the corners: five; nine with the middles of the "
      "edges",
      _MEAN_OF_CROPS,
      (Number("count", 5.0, low=5, high=9, whole=True),),
      keys=("data.crop_size",),
    ),
    "scales": Block(
      "enlarges what is seen by each of these factors, about its middle, bilinear; black beyond "
      "the image",
      "He et al. 2016, section 4.1; document 003",
      (Number("factor", low=0.25, high=4.0),),
      differs="the image is scaled and not the network's input: all views have one size",
      repeats=True,
    ),
  }
)


@dataclasses.dataclass(frozen=True)
class View:
  """One view of an image: a window of the size that the network takes.

  Attributes:
    flip: whether it is mirrored left-right.
    place: where it stands along the height and the width: 0 at the first pixel, 1 in the middle, 2
      at the last pixel of the image.
    shift: pixels by which it is moved from there, down and right.
    scale: factor by which what is in it is enlarged.
  """

  flip: bool = False
  place: tuple[int, int] = (1, 1)
  shift: tuple[int, int] = (0, 0)
  scale: float = 1.0


CENTRE = View()
_GRIDS: Mapping[int, tuple[tuple[int, int], ...]] = types.MappingProxyType(
  {
    5: ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2)),
    9: tuple((down, right) for down in range(3) for right in range(3)),
  }
)
CROP_COUNTS = tuple(_GRIDS)


def _shifts(view: View, pixels: float) -> list[View]:
  steps = (0, -int(pixels), int(pixels))
  return [
    dataclasses.replace(view, shift=(view.shift[0] + down, view.shift[1] + right))
    for down, right in itertools.product(steps, repeat=2)
  ]


# By the names of the table: (a view, the numbers) -> the views that become of it.
EXPAND: Mapping[str, Callable[..., list[View]]] = types.MappingProxyType(
  {
    "centre": lambda view: [view],
    "flip": lambda view: [view, dataclasses.replace(view, flip=not view.flip)],
    "shifts": _shifts,
    "crops": lambda view, count: [
      dataclasses.replace(view, place=place) for place in _GRIDS[int(count)]
    ],
    "scales": lambda view, *factors: [
      dataclasses.replace(view, scale=view.scale * factor) for factor in factors
    ],
  }
)


def views_of(text: str) -> tuple[View, ...]:
  """Returns the views that a text names, such as `flip shifts(1)`; of an empty one the centre.

  Raises:
    ValueError: it cannot be read, see `parse_calls`.
  """
  views = [CENTRE]
  for call in parse_calls(text, VIEWS):
    views = [new for view in views for new in EXPAND[call.name](view, *call.numbers)]
  return tuple(views)
