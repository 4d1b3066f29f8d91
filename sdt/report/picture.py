"""A figure as it stands on a page. Free of matplotlib, which only drawing needs."""

import base64
import dataclasses


@dataclasses.dataclass(frozen=True)
class Picture:
  """A figure on a page.

  Attributes:
    content: the picture, SVG or PNG.
    alt: what it is, for those who do not see it.
    caption: what it shows and how to read it, sentences.
    kind: classes of the style sheet: "wide" for one that takes the whole width, "wide mosaic" for
      one that is never made smaller.
  """

  content: bytes
  alt: str
  caption: str
  kind: str = ""

  @property
  def suffix(self) -> str:
    """The kind of the picture: "svg" or "png"."""
    return "png" if self.content.startswith(b"\x89PNG") else "svg"

  @property
  def source(self) -> str:
    """The picture itself as an address, so that a page is one file."""
    kind = {"svg": "svg+xml", "png": "png"}[self.suffix]
    return f"data:image/{kind};base64," + base64.b64encode(self.content).decode("ascii")
