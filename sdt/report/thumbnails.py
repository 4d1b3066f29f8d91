"""Small images as they stand on a page: addresses that hold the image itself."""

import base64
import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

# An image up to this many bytes is a PNG, which keeps every pixel.
_MAX_EXACT = 4096
_JPEG_QUALITY = 85


def address(image: UInt8[np.ndarray, "h w C"]) -> str:
  """Returns an image as a data address: a PNG where that is small, else the smaller of both kinds.

  Of two channels the first is shown, of more than three the first three.
  """
  from PIL import Image

  pixels = image[..., 0] if image.shape[-1] < 3 else image[..., :3]
  picture = Image.fromarray(np.ascontiguousarray(pixels))
  kind, data = "png", _saved(picture, "PNG")
  if len(data) > _MAX_EXACT:
    lossy = _saved(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    kind, data = min((kind, data), ("jpeg", lossy), key=lambda one: len(one[1]))
  return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _saved(picture: Any, kind: str, **options: int) -> bytes:
  buffer = io.BytesIO()
  picture.save(buffer, kind, **options)
  return buffer.getvalue()
