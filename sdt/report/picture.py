"""A figure as it stands on a page. Free of matplotlib, which only drawing needs."""

import base64
import dataclasses


@dataclasses.dataclass(frozen=True)
class Picture:
  """A figure on a page.

  Attributes:
    png: the picture.
    alt: what it is, for those who do not see it.
    caption: what it shows and how to read it, sentences.
    kind: classes of the style sheet: "wide" for one that takes the whole width, "wide mosaic" for
      one that is never made smaller.
  """

  png: bytes
  alt: str
  caption: str
  kind: str = ""

  @property
  def source(self) -> str:
    """The picture itself as an address, so that a page is one file."""
    return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")
