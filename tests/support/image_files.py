"""Image files of every kind, made by Pillow or by hand, beside the pixels that they show."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
  """Returns the file as bytes."""
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def noise(size: tuple[int, int] = (6, 4), seed: int = 0) -> Image.Image:
  """Returns an RGB image of random pixels; `size` is (width, height), as Pillow has it."""
  return Image.fromarray(
    np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
  )


def _chunk(kind: bytes, body: bytes) -> bytes:
  return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(
  values: np.ndarray, color_type: int, *, size: tuple[int, int] | None = None, between: bytes = b""
) -> bytes:
  """Returns a PNG of 16 bits a channel, written by hand: Pillow writes only grey ones.

  Args:
    values: [H, W, channels] in [0, 65535].
    color_type: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha.
    size: (width, height) to claim, if not the true ones.
    between: chunks between header and pixels.
  """
  height, width = values.shape[:2]
  width, height = size or (width, height)
  header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, color_type, 0, 0, 0])
  lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
  body = (
    _chunk(b"IHDR", header) + between + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")
  )
  return b"\x89PNG\r\n\x1a\n" + body


def png_bomb(side: int) -> bytes:
  """Returns a PNG of some hundred bytes that claims side x side pixels."""
  return png(np.zeros((1, 1, 1)), 0, size=(side, side))


def tiff(content: bytes, bits: int, photometric: int, sample_format: int = 1) -> bytes:
  """Returns a grey TIFF of 4 x 4 pixels of some depth, which Pillow cannot write."""
  shorts = {
    256: 4,
    257: 4,
    258: bits,
    259: 1,
    262: photometric,
    273: 8,
    277: 1,
    278: 4,
    279: len(content),
    339: sample_format,
  }
  entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items())
  return (
    b"II*\0"
    + struct.pack("<I", 8 + len(content))
    + content
    + struct.pack("<H", len(shorts))
    + entries
    + bytes(4)
  )


def _twelve_bits(values: np.ndarray) -> bytes:
  """Returns the values in [0, 4095] packed, the first bit first."""
  return int("".join(f"{value:012b}" for value in values.ravel().tolist()), 2).to_bytes(
    values.size * 12 // 8, "big"
  )


def ycck(cmyk: tuple[int, int, int, int], quality: int = 95) -> bytes:
  """Returns an Adobe YCCK JPEG with the four numbers `cmyk` as Y, Cb, Cr, K of every pixel.

  255 is full ink, as in Pillow.

  Pillow writes CMYK only; the transform byte of its Adobe marker says which of the two it is.
  """
  content = saved(Image.new("CMYK", (16, 16), cmyk), "JPEG", quality=quality)
  at = content.index(b"Adobe") + 11
  assert content[at] == 0
  return content[:at] + b"\x02" + content[at + 1 :]


def _palette() -> Image.Image:
  image = Image.new("P", (4, 4))
  image.putpalette([*RED, *GREEN, *BLUE, *WHITE])
  image.putdata([0, 0, 1, 1] * 2 + [2, 2, 3, 3] * 2)
  return image


def _quadrants(*colors: tuple[int, int, int]) -> np.ndarray:
  """Returns [4, 4, 3]: upper left, upper right, lower left, lower right."""
  a, b, c, d = (np.broadcast_to(color, (2, 2, 3)) for color in colors)
  return np.block([[[a], [b]], [[c], [d]]]).astype(np.uint8)


_COLORS = _quadrants(RED, GREEN, BLUE, WHITE)
_RGB = Image.fromarray(_COLORS)
_GREY = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
_GREY_RGB = np.repeat(_GREY[..., None], 3, axis=2)
_ALPHA = (
  _quadrants(RED, GREEN, BLUE, WHITE)[..., :1] * 0
  + np.array([[255, 255, 0, 0]] * 4, np.uint8)[..., None]
)
_OVER_WHITE = np.concatenate([_COLORS[:, :2], np.full((4, 2, 3), 255, np.uint8)], axis=1)
_RGBA = Image.fromarray(np.concatenate([_COLORS, _ALPHA], axis=2))
_GREY_OVER_WHITE = np.concatenate([_GREY_RGB[:, :2], np.full((4, 2, 3), 255, np.uint8)], axis=1)
_LA = Image.merge("LA", (Image.fromarray(_GREY), Image.fromarray(_ALPHA[..., 0])))
_DEEP = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096 + 255
_BITS = np.array([[0, 1, 0, 1], [1, 1, 0, 0]] * 2, bool)
_FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (4, 4), RED)]}
_FIRST = Image.new("RGB", (4, 4), BLUE)
_ALL_BLUE = np.broadcast_to(np.array(BLUE, np.uint8), (4, 4, 3))
_DEEP_RGB = np.stack([_DEEP, _DEEP[::-1], _DEEP.T], axis=2)

# name -> (file name, content, pixels [4, 4, 3]); everything here is stored without loss.
EXACT = {
  **{
    f"RGB {kind}": (f"x.{suffix}", saved(_RGB, kind, **options), _COLORS)
    for kind, suffix, options in (
      ("PNG", "png", {}),
      ("BMP", "bmp", {}),
      ("WEBP", "webp", {"lossless": True}),
      ("PPM", "ppm", {}),
      ("TIFF", "tif", {}),
      ("TIFF", "tiff", {"compression": "tiff_lzw"}),
      ("GIF", "gif", {}),
    )
  },
  **{
    f"grey {kind}": (f"x.{suffix}", saved(Image.fromarray(_GREY), kind), _GREY_RGB)
    for kind, suffix in (
      ("PNG", "png"),
      ("BMP", "bmp"),
      ("PPM", "pgm"),
      ("TIFF", "tif"),
      ("GIF", "gif"),
    )
  },
  "1 bit PNG": (
    "x.png",
    saved(Image.fromarray(_BITS), "PNG"),
    np.repeat(_BITS[..., None] * np.uint8(255), 3, axis=2),
  ),
  "1 bit TIFF": (
    "x.tif",
    saved(Image.fromarray(_BITS), "TIFF", compression="group4"),
    np.repeat(_BITS[..., None] * np.uint8(255), 3, axis=2),
  ),
  "palette PNG": ("x.png", saved(_palette(), "PNG"), _COLORS),
  "palette BMP": ("x.bmp", saved(_palette(), "BMP"), _COLORS),
  "palette, one entry transparent": (
    "x.png",
    saved(_palette(), "PNG", transparency=1),
    _quadrants(RED, WHITE, BLUE, WHITE),
  ),
  "palette, entries half transparent": (
    "x.png",
    saved(_palette(), "PNG", transparency=bytes([255, 0, 51, 255])),
    _quadrants(RED, WHITE, (204, 204, 255), WHITE),
  ),
  "transparent GIF": (
    "x.gif",
    saved(_palette(), "GIF", transparency=0),
    _quadrants(WHITE, GREEN, BLUE, WHITE),
  ),
  "RGB with one colour transparent": (
    "x.png",
    saved(_RGB, "PNG", transparency=GREEN),
    _quadrants(RED, WHITE, BLUE, WHITE),
  ),
  "grey with one value transparent": (
    "x.png",
    saved(Image.fromarray(_GREY), "PNG", transparency=16),
    np.where(_GREY_RGB == 16, 255, _GREY_RGB).astype(np.uint8),
  ),
  "RGBA PNG": ("x.png", saved(_RGBA, "PNG"), _OVER_WHITE),
  "RGBA WebP": ("x.webp", saved(_RGBA, "WEBP", lossless=True, exact=True), _OVER_WHITE),
  "RGBA TIFF": ("x.tif", saved(_RGBA, "TIFF"), _OVER_WHITE),
  "grey and alpha PNG": ("x.png", saved(_LA, "PNG"), _GREY_OVER_WHITE),
  "grey and alpha TIFF": ("x.tif", saved(_LA, "TIFF"), _GREY_OVER_WHITE),
  **{
    f"16 bit grey {kind}": (
      f"x.{suffix}",
      saved(Image.fromarray(_DEEP), kind),
      np.repeat((_DEEP >> 8)[..., None], 3, axis=2),
    )
    for kind, suffix in (("PNG", "png"), ("PPM", "pgm"), ("TIFF", "tif"))
  },
  "16 bit grey with one value transparent": (
    "x.png",
    png(_DEEP[..., None], 0, between=_chunk(b"tRNS", (4096 + 255).to_bytes(2, "big"))),
    np.repeat(np.where(_DEEP == 4096 + 255, 255, _DEEP >> 8)[..., None], 3, axis=2),
  ),
  "16 bit RGB": ("x.png", png(_DEEP_RGB, 2), _DEEP_RGB >> 8),
  "16 bit grey and alpha": (
    "x.png",
    png(np.stack([_DEEP, _ALPHA[..., 0] * np.uint16(257)], axis=2), 4),
    np.where(_ALPHA == 0, 255, np.repeat((_DEEP >> 8)[..., None], 3, axis=2)),
  ),
  "16 bit RGBA": (
    "x.png",
    png(np.concatenate([_DEEP_RGB, _ALPHA * np.uint16(257)], axis=2), 6),
    np.where(_ALPHA == 0, 255, _DEEP_RGB >> 8),
  ),
  "32 bit grey": (
    "x.tif",
    saved(Image.fromarray(_DEEP.astype(np.int32)), "TIFF"),
    np.repeat((_DEEP >> 8)[..., None], 3, axis=2),
  ),
  "floats": (
    "x.tif",
    saved(Image.fromarray((_GREY / 255).astype(np.float32)), "TIFF"),
    _GREY_RGB,
  ),
  "12 bit grey": (
    "x.tif",
    tiff(_twelve_bits(_DEEP >> 4), 12, 1),
    np.repeat((_DEEP >> 8)[..., None], 3, axis=2),
  ),
  "16 bit grey, white is 0": (
    "x.tif",
    tiff((65535 - _DEEP).astype("<u2").tobytes(), 16, 0),
    np.repeat((_DEEP >> 8)[..., None], 3, axis=2),
  ),
  "floats, white is 0": (
    "x.tif",
    tiff((1 - _GREY / 255).astype("<f4").tobytes(), 32, 0, sample_format=3),
    _GREY_RGB,
  ),
  "CMYK TIFF": ("x.tif", saved(Image.new("CMYK", (4, 4), (255, 255, 0, 0)), "TIFF"), _ALL_BLUE),
  "first frame of a GIF": ("x.gif", saved(_FIRST, "GIF", **_FRAMES), _ALL_BLUE),
  "first frame of a WebP": ("x.webp", saved(_FIRST, "WEBP", lossless=True, **_FRAMES), _ALL_BLUE),
  "first frame of a PNG": ("x.png", saved(_FIRST, "PNG", **_FRAMES), _ALL_BLUE),
  "first page of a TIFF": ("x.tif", saved(_FIRST, "TIFF", **_FRAMES), _ALL_BLUE),
  "a PNG that is called JPEG": ("x.jpeg", saved(_RGB, "PNG"), _COLORS),
}

# name -> (content, the one colour of all pixels); JPEG stores these to within a few levels.
JPEGS = {
  "RGB": (saved(Image.new("RGB", (16, 16), (200, 40, 90)), "JPEG", quality=95), (200, 40, 90)),
  "grey": (saved(Image.new("L", (16, 16), 77), "JPEG", quality=95), (77, 77, 77)),
  "progressive": (
    saved(Image.new("RGB", (16, 16), (200, 40, 90)), "JPEG", quality=95, progressive=True),
    (200, 40, 90),
  ),
  # Naive inks: (255 - c) (255 - k) / 255.
  "CMYK": (
    saved(Image.new("CMYK", (16, 16), (255, 128, 0, 51)), "JPEG", quality=95),
    (0, 127 * 204 / 255, 204),
  ),
  # Pillow stores 255 minus the numbers given. By BT.601 Y = 155, Cb = Cr = 128 are R = G = B = 155;
  # Adobe means that much ink of each.
  "YCCK, grey": (ycck((100, 127, 127, 0)), (100, 100, 100)),
  # Y = 76, Cb = 85, Cr = 255 are R = 255, G = B = 0: only cyan ink; and a fifth of the black.
  "YCCK, cyan and black": (ycck((255 - 76, 255 - 85, 0, 51)), (0, 204, 204)),
  "two pictures in one file": (
    saved(
      Image.new("RGB", (16, 16), (20, 40, 190)),
      "MPO",
      save_all=True,
      append_images=[Image.new("RGB", (16, 16), RED)],
      quality=95,
    ),
    (20, 40, 190),
  ),
}

DAMAGED = {
  "zero bytes": (b"", "the file is empty"),
  "a web page": (b"<html>not found</html>", "no image of a known kind"),
  "a cut PNG": (saved(noise((40, 40)), "PNG")[:900], "truncated"),
  "a cut JPEG": (saved(noise((40, 40)), "JPEG")[:900], "truncated"),
  "a cut BMP": (saved(noise((40, 40)), "BMP")[:900], "truncated"),
  "a cut WebP": (saved(noise((40, 40)), "WEBP")[:400], ""),
  "a cut PPM": (saved(noise((40, 40)), "PPM")[:900], "truncated"),
  "a cut TIFF": (saved(noise((40, 40)), "TIFF")[:900], ""),
  "a bomb": (png_bomb(10_000), "decompression bomb"),
  "a larger bomb": (png_bomb(60_000), "decompression bomb"),
  "an icon": (saved(noise((16, 16)), "ICO"), "no image of a known kind"),
  "postscript": (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "no image of a known kind",
  ),
  "floats beyond 1": (
    saved(Image.fromarray(np.full((4, 4), 7.5, np.float32)), "TIFF"),
    "not within [0, 1]",
  ),
  "NaN": (saved(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "not finite"),
  "numbers beyond 16 bits": (
    saved(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
    "not within [0, 65535]",
  ),
}
