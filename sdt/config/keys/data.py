"""The keys of `data`: which set, how it is read, split and drawn."""

import dataclasses

from sdt.config.keys.declare import config_key
from sdt.config.toolbox.imbalance_blocks import IMBALANCES
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS

_SETS = (
  *("digits", "cifar10", "cifar100", "svhn", "tiny_imagenet", "cub"),
  *("folder", "csv", "npz", "arrays", "shapes", "curve"),
)


@dataclasses.dataclass(frozen=True)
class ShapesConfig:
  """The procedural set: any size, known difficulty."""

  num_train: int = config_key(2000, "training examples", low=1)
  num_test: int = config_key(500, "test examples", low=1)
  num_classes: int = config_key(4, "classes", low=2, high=1000)
  image_size: int = config_key(16, "height and width, pixels", low=4, high=1024)


@dataclasses.dataclass(frozen=True)
class CurveConfig:
  """The toy's points: y = x^2 with noise, drawn for every seed."""

  num_points: int = config_key(40, "training points of each seed", low=2, high=100_000)
  num_validation: int = config_key(
    40, "further noisy points of each seed, on which the toy's decay is chosen", low=1, high=100_000
  )
  noise: float = config_key(
    0.5, "the noise is uniform between minus and plus this", above=0.0, high=1e3
  )


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The data set."""

  name: str = config_key("digits", "data set", choices=_SETS)
  path: str | None = config_key(
    None, "where the set is: an archive, a folder, an npz or CSV file, or a folder that tfds wrote"
  )
  verify: str = config_key(
    "strict",
    "strict: only files with the registered checksums; known: also the listed variants, which "
    "every result names",
    choices=("strict", "known"),
  )
  download: bool = config_key(
    True, "download a published set that is missing, if there is a network"
  )
  download_timeout_secs: float = config_key(
    30.0, "seconds without a byte after which a download fails", above=0.0, high=86_400.0
  )
  on_bad_image: str = config_key(
    "refuse",
    "an image that cannot be read: refuse the whole set, or skip the image and count it",
    choices=("refuse", "skip"),
  )
  channels: int | None = config_key(
    None, "npz: channels of the images, where they are neither 1 nor 3 nor 4", low=1, high=1024
  )
  value_range: tuple[float, ...] | None = config_key(
    None,
    "the values of deep grey image files (over 8 bits, or floats) that become black and white; "
    "beyond them they are clipped; None: all values that the kind of file can hold",
    min_length=2,
  )
  on_duplicate_test: str = config_key(
    "warn",
    "test examples that are in the training set too, pixel by pixel: refuse the set, warn, or drop "
    "them from the test set",
    choices=("refuse", "warn", "drop"),
  )
  near_duplicates: int | None = config_key(
    None,
    "also list images that look alike: those whose 64-bit perceptual hashes differ in at most so "
    "many bits; 4 finds few and sure ones, 8 more and doubtful ones",
    low=0,
    high=8,
  )
  allow_empty_class: bool = config_key(False, "accept a class without training examples")
  test_fraction: float | None = config_key(
    None,
    "share of the examples held out as the test split, where the set has none (stratified)",
    above=0.0,
    below=1.0,
  )
  test_split: str = config_key(
    "own",
    "own: the set's test split; held_out: data.test_fraction of its training examples, and its own "
    "is left alone, so that arms and recipes are chosen without it",
    choices=("own", "held_out"),
    is_later=True,
  )
  split_seed: int = config_key(
    0,
    "seed of what is drawn once for all seeds: test and validation split, procedural sets, wrong "
    "labels, what data.num_train, data.imbalance and data.labelled leave",
    low=0,
  )
  wrong_label_fraction: float = config_key(
    0.0,
    "share of the training labels replaced by a wrong class, to see which scores find them",
    low=0.0,
    below=1.0,
  )
  labels_file: str | None = config_key(
    None,
    "training labels from a file, in place of the set's own, which count as the truth: an npz with "
    "an array by example id, or a CSV file with example_id,label",
    is_later=True,
  )
  labels_key: str | None = config_key(
    None,
    "the array of the npz, or the column of the CSV file, that holds the labels",
    is_later=True,
  )
  corrections: tuple[str, ...] = config_key(
    (),
    "files of corrections (corrections.csv) that relabel and drop training examples, one after the "
    "other",
    unique=True,
    is_later=True,
  )
  corrections_test: tuple[str, ...] = config_key(
    (), "the same for test examples; every result names them", unique=True, is_later=True
  )
  image_size: int | None = config_key(
    None, "size to which image files are resized, pixels; see data.resize", low=4, high=4096
  )
  resize: str = config_key(
    "stretch",
    "stretch: height and width become image_size; short_side: the shorter side does, and the "
    "proportions stay",
    choices=("stretch", "short_side"),
  )
  downsample: int = config_key(
    1,
    "averages squares of so many by so many pixels: 2 makes 16 x 16 of 32 x 32, and a network four "
    "times as fast",
    low=1,
    high=16,
    is_later=True,
  )
  crop_size: int | None = config_key(
    None,
    "side of the square that the network sees, pixels: cropped at random in training, from the "
    "centre in scoring and evaluation",
    low=4,
    high=4096,
  )
  labels: str = config_key(
    "fine", "cifar100: its 100 classes, or its 20 coarse ones", choices=("fine", "coarse")
  )
  statistics: str = config_key(
    "own",
    "normalise by the set's own mean and standard deviation (published, or of its training split), "
    "or by those of pretrained weights: ImageNet's, or 0.5 and 0.5 of every channel (inception)",
    choices=("own", "imagenet", "inception"),
  )
  normalise: str = config_key(
    "channel",
    "what becomes of the inputs, in order, by statistics of the training split: such as "
    "'image_mean zca(0.1)'",
    calls=NORMALISERS,
  )
  cache: bool = config_key(
    True, "keep decoded image files as uint8 in the data directory, and reuse them"
  )
  placement: str = config_key(
    "auto",
    "where the inputs are kept: device: in its memory; stream: on the host, copied ahead of every "
    "dispatch; auto: on the device if they fit",
    choices=("auto", "device", "stream"),
  )
  num_train: int | None = config_key(
    None, "use only this many training examples, drawn by split_seed (stratified)", low=1
  )
  num_test: int | None = config_key(None, "the same for the test set", low=1)
  imbalance: str | None = config_key(
    None,
    "makes the training set imbalanced on purpose, after data.num_train: such as longtail(100); "
    "which examples stay is drawn by split_seed",
    call=IMBALANCES,
    is_later=True,
  )
  labelled: int | None = config_key(
    None,
    "so many training examples keep their label, after data.num_train and data.imbalance, drawn by "
    "split_seed (stratified); nothing sees the labels of the others",
    low=1,
    is_later=True,
  )
  pretext: str | None = config_key(
    None,
    "rotation: every image four times, turned by quarters, which is what the network is to tell; "
    "the weights are read by model.pretrained of another run",
    choices=("rotation",),
    is_later=True,
  )
  validation_fraction: float = config_key(
    0.1,
    "share of the training set that is held out (stratified): a selection chooses on it, early "
    "stopping stops by it, evaluate.prior_shift chooses by it",
    above=0.0,
    below=1.0,
  )
  shapes: ShapesConfig = dataclasses.field(default_factory=ShapesConfig)
  curve: CurveConfig = dataclasses.field(default_factory=CurveConfig)
