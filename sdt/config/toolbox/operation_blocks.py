"""What an augmentation is made of, by name: operations that a config writes in order."""

import types
from collections.abc import Mapping

from sdt.config.toolbox.block import Block, Number, Table

_CHANCE = Number("probability", 0.5, low=0.0, high=1.0)
_ALPHA = Number("alpha", low=0.0, high=1000.0)
_VISION = "Simard et al. 2003; documents 002 and 004"

# The functions are in `sdt/inputs/operations/`. The first number of a row is the strength of the
# operation: a phase may have another, and `regularise.augment_strength` scales it.
OPS: Table = types.MappingProxyType(
  {
    "crop": Block(
      "pads each side by so many pixels and crops at random to the old size, or to data.crop_size",
      "He et al. 2016, section 4.2; the paper; documents 002 and 003",
      (Number("pixels", low=0, high=64, whole=True),),
      keys=("data.crop_size", "augment.fill"),
      also=("random_crop", "pad_crop"),
    ),
    "resized_crop": Block(
      "enlarges a random box, of at least this share of the area; 1 is off",
      "Szegedy et al. 2015, section 6; document 002",
      (
        Number("area", above=0.0, high=1.0),
        Number("aspect", 1.3333333333333333, low=1.0, high=16.0),
      ),
      keys=("data.crop_size",),
      also=("random_resized_crop",),
    ),
    "flip": Block(
      "mirrors left-right",
      "documents 002, 003 and 004",
      (_CHANCE,),
      also=("hflip", "horizontal_flip", "mirror"),
    ),
    "vertical_flip": Block(
      "mirrors top-bottom", "documents 003 and 004", (_CHANCE,), also=("vflip",)
    ),
    "translate": Block(
      "shifts by up to so many pixels, along each side",
      _VISION,
      (Number("pixels", low=0.0, high=512.0),),
      keys=("augment.fill",),
      also=("shift",),
    ),
    "rotate": Block(
      "turns by up to so many degrees, either way",
      _VISION,
      (Number("degrees", low=0.0, high=180.0),),
      keys=("augment.fill",),
      also=("rotation", "random_rotation"),
    ),
    "zoom": Block(
      "enlarges or shrinks by a factor of up to 1 + zoom",
      "documents 003 and 004",
      (Number("zoom", low=0.0, high=9.0),),
      keys=("augment.fill",),
      also=("scale",),
    ),
    "shear": Block(
      "slants by up to so many degrees, along each side",
      "Simard et al. 2003; document 002",
      (Number("degrees", low=0.0, high=80.0),),
      keys=("augment.fill",),
    ),
    "stretch": Block(
      "changes the ratio of the sides by a factor of up to 1 + stretch, at the same area",
      "document 002",
      (Number("stretch", low=0.0, high=9.0),),
      keys=("augment.fill",),
    ),
    "lens": Block(
      "bends straight lines: a point at the share r of the half diagonal shows r (1 + k r^2), "
      "|k| up to this",
      "Brown 1971, the first radial term; document 002",
      (Number("bend", low=0.0, below=1.0),),
      keys=("augment.fill",),
    ),
    "projective": Block(
      "tilts about both axes: p / (1 + g x + h y), |g| and |h| up to this, x and y in [-1, 1]",
      "Hartley and Zisserman 2003, section 2.3; document 002",
      (Number("tilt", low=0.0, below=0.5),),
      keys=("augment.fill",),
      also=("perspective",),
    ),
    "brightness": Block(
      "times 1 + u, |u| up to this", "documents 002 and 003", (Number("change", low=0.0, high=1.0),)
    ),
    "contrast": Block(
      "m + (1 + u) (x - m), m the mean grey of the image, |u| up to this",
      "documents 002 and 003",
      (Number("change", low=0.0, high=1.0),),
    ),
    "saturation": Block(
      "g + (1 + u) (x - g), g the grey of the pixel, |u| up to this; of three channels",
      "document 003",
      (Number("change", low=0.0, high=1.0),),
    ),
    "hue": Block(
      "turns the hue by up to this share of the circle; of three channels",
      "document 003",
      (Number("turn", low=0.0, high=0.5),),
    ),
    "colour": Block(
      "brightness, contrast and saturation, each by up to this; of three channels",
      "Krizhevsky et al. 2012; documents 002 and 003",
      (Number("change", low=0.0, high=1.0),),
      also=("color", "jitter", "color_jitter"),
    ),
    "pca_colour": Block(
      "adds to all pixels a normal amount along the principal colours; of three channels",
      "Krizhevsky et al. 2012, section 4.1; document 002",
      (Number("deviation", 0.1, low=0.0, high=10.0),),
      differs="the principal colours are those published for ImageNet, not of the training set",
      also=("pca_color", "lighting"),
    ),
    "noise": Block(
      "adds normal noise of this standard deviation, as a share of the range",
      "Bishop 1995; documents 003 and 004",
      (Number("deviation", low=0.0, high=1.0),),
      also=("gaussian_noise",),
    ),
    "mean_blur": Block(
      "means over squares of 1 to so many pixels a side",
      "document 003",
      (Number("pixels", 3.0, low=0.0, high=5.0),),
    ),
    "gaussian_blur": Block(
      "a Gaussian of up to this standard deviation, in pixels, over 7 x 7",
      "document 003",
      (Number("deviation", low=0.0, high=2.0),),
      also=("blur",),
    ),
    "median_blur": Block("the median of 3 x 3 pixels", "Tukey 1977; document 003", (_CHANCE,)),
    "bilateral_blur": Block(
      "means over 5 x 5 of pixels that differ by no more than about this share of the range",
      "Tomasi and Manduchi 1998; document 003",
      (Number("difference", low=0.0, high=1.0),),
    ),
    "cutout": Block(
      "fills a square of so many pixels a side, whose middle is anywhere in the image",
      "DeVries and Taylor 2017; documents 002 and 003",
      (Number("pixels", low=0.0, high=512.0),),
      keys=("augment.fill",),
    ),
    "erase": Block(
      "fills a random box of 2 to 33 % of the area",
      "Zhong et al. 2020, algorithm 1; the paper",
      (_CHANCE,),
      keys=("augment.fill",),
      also=("random_erase", "random_erasing"),
    ),
    "trivial_augment": Block(
      "one random operation of 14 at a random strength, with this probability",
      "Mueller and Hutter 2021, the wide ranges",
      (Number("probability", 1.0, low=0.0, high=1.0),),
      keys=("augment.fill",),
      differs="shears about the middle; bilinear",
    ),
    "rand_augment": Block(
      "so many random operations of 14, one after the other, at this strength of 30",
      "Cubuk et al. 2020",
      (
        Number("magnitude", 9.0, low=0.0, high=30.0),
        Number("count", 2.0, low=1.0, high=4.0, whole=True),
      ),
      keys=("augment.fill",),
      differs="shears about the middle; bilinear; at 0 none of them acts",
    ),
    "auto_augment": Block(
      "one of the 25 pairs of operations that were found for CIFAR-10; this scales their "
      "probabilities",
      "Cubuk et al. 2019, table 7; documents 002 and 004",
      (Number("probability", 1.0, low=0.0, high=1.0),),
      keys=("augment.fill",),
      differs="shears about the middle; bilinear; the learned search is not there",
    ),
    "smote": Block(
      "replaces an example of a rare class by a random point between it and one of so many nearest "
      "examples of its class; the chance is this probability times 1 - n / m, of the sizes of the "
      "class and of the largest",
      "Chawla et al. 2002, section 4.2; document 003",
      (
        Number("probability", 1.0, low=0.0, high=1.0),
        Number("neighbours", 5.0, low=1.0, high=100.0, whole=True),
      ),
      differs="drawn anew in every step; together with `over_all@baseline:all` the set is as large "
      "as the source's; near by pixels, of images averaged to at most 16 a side",
    ),
    "mixup": Block(
      "blends pairs of examples and their losses, with a weight from Beta(alpha, alpha)",
      "Zhang et al. 2018, section 2; the paper; documents 002 and 003",
      (_ALPHA,),
    ),
    "cutmix": Block(
      "pastes a box of another example; the share of each loss is that of the visible area",
      "Yun et al. 2019, section 3.1; the paper; document 003",
      (_ALPHA,),
    ),
    "ricap": Block(
      "puts four examples together, cropped at random; the losses are weighted by their areas",
      "Takahashi et al. 2018, section 3; the paper",
      (_ALPHA,),
    ),
  }
)

# It reads other examples than those of the batch, as they are stored.
SMOTE = "smote"
# They set the size of the images, so they stand first; their numbers, and that of a flip, are
# static as long as no phase has another.
CROPS = ("crop", "resized_crop")
STATIC = (*CROPS, "flip")
MIXING = ("mixup", "cutmix", "ricap")
THREE_CHANNELS = ("saturation", "hue", "colour", "pca_colour")

# By what name a phase overrides the strength of an operation, where it is not the operation's own.
_STRENGTHS: Mapping[str, str] = types.MappingProxyType({"mixup": "mixup_alpha"})


def strength_of(operation: str) -> str:
  """Returns the regulariser that is the strength of an operation: `rotate`, `mixup_alpha`."""
  return _STRENGTHS.get(operation, operation)


def off_strength(operation: str) -> float:
  """Returns the strength at which an operation changes nothing: of a box 1, all of the image."""
  return 1.0 if operation == "resized_crop" else 0.0


# The operations whose strength is a regulariser of their own name.
OWN_STRENGTHS = tuple(name for name in OPS if name not in _STRENGTHS)
FILLS = ("black", "mean", "noise")
