"""The registered sets, their addresses and their checksums.

Addresses, sizes and SHA-256 of the downloads are those of tensorflow-datasets 4.9.10 (a test
compares them). We computed the checksums of the files inside the archives from files that equal the
originals; see docs/decisions/0002-data-without-tensorflow.md.
"""

from sdt.data.published.cifar import CifarFormat
from sdt.data.published.cifar_files import CifarFile, KnownVariant
from sdt.data.published.cub import CubFormat
from sdt.data.published.download import RemoteFile
from sdt.data.published.registered import PublishedSizes, RegisteredSet
from sdt.data.published.svhn import SvhnFormat
from sdt.data.published.tiny_imagenet import TinyImageNetFormat

_CIFAR_MEAN_STD = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))

_CIFAR_LICENCE = (
  "none stated; its authors ask to cite Krizhevsky 2009, Learning Multiple Layers of Features from "
  "Tiny Images"
)

# SHA-256 of data_batch_1.bin to data_batch_5.bin.
_CIFAR10_TRAIN = (
  "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
  "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
  "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
  "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
  "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
)

# The test images that the known variant has from JPEG.
_REENCODED = (
  *(1259, 1369, 1422, 2245, 2737, 2935, 3695, 3718, 4085, 4496),
  *(5791, 5896, 6286, 7580, 7707, 7724, 7832, 8117, 8551, 9254),
)

CIFAR10 = RegisteredSet(
  name="cifar10",
  licence=_CIFAR_LICENCE,
  sizes=PublishedSizes(50_000, 10_000, 10),
  tfds_name="cifar10",
  remotes=(
    RemoteFile(
      url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
      name="cifar-10-binary.tar.gz",
      size=170_052_171,
      sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
  ),
  form=CifarFormat(
    folder="cifar-10-batches-bin",
    class_names=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    train=tuple(
      CifarFile(f"data_batch_{number}.bin", 10_000, sha256)
      for number, sha256 in enumerate(_CIFAR10_TRAIN, 1)
    ),
    test=(
      CifarFile(
        "test_batch.bin",
        10_000,
        variants=(
          KnownVariant(
            name="jpeg-test-20",
            sha256="123ca0dad8f960344d9149742165d4215093c84c8c4bdc5922af93b614bdb501",
            meaning=(
              "20 of its 10,000 images are decoded from JPEG, all labels and the other images are "
              "the original's"
            ),
          ),
        ),
        unknown_records=_REENCODED,
        masked_sha256="0f20492aeea390bbf56f13af6c4ef4a89a2057adc2edc2becc25c68e2344e741",
      ),
    ),
  ),
  mean_std=_CIFAR_MEAN_STD,
)

_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

_CIFAR100_COARSE_NAMES = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""

CIFAR100 = RegisteredSet(
  name="cifar100",
  licence=_CIFAR_LICENCE,
  sizes=PublishedSizes(50_000, 10_000, 100, num_coarse_classes=20),
  tfds_name="cifar100",
  remotes=(
    RemoteFile(
      url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
      name="cifar-100-binary.tar.gz",
      size=168_513_733,
      sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
  ),
  form=CifarFormat(
    folder="cifar-100-binary",
    class_names=tuple(_CIFAR100_NAMES.split()),
    coarse_class_names=tuple(_CIFAR100_COARSE_NAMES.split()),
    train=(
      CifarFile(
        "train.bin", 50_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"
      ),
    ),
    test=(
      CifarFile(
        "test.bin", 10_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"
      ),
    ),
  ),
  mean_std=_CIFAR_MEAN_STD,
)

SVHN = RegisteredSet(
  name="svhn",
  licence="for non-commercial use only, as its authors write",
  sizes=PublishedSizes(73_257, 26_032, 10),
  tfds_name="svhn_cropped",
  remotes=(
    RemoteFile(
      url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
      name="train_32x32.mat",
      size=182_040_794,
      sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ),
    RemoteFile(
      url="http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
      name="test_32x32.mat",
      size=64_275_384,
      sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    ),
  ),
  form=SvhnFormat(),
)

# Its test labels were never published: the validation set is the test set.
TINY_IMAGENET = RegisteredSet(
  name="tiny_imagenet",
  licence=(
    "none stated; the images are ImageNet's, whose terms are non-commercial research and education"
  ),
  sizes=PublishedSizes(100_000, 10_000, 200, image_shape=(64, 64, 3)),
  form=TinyImageNetFormat(),
  by_hand=(
    (
      "curl -fL --create-dirs -o {folder}/tiny-imagenet-200.zip "
      "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    ),
    "unzip -q {folder}/tiny-imagenet-200.zip -d {folder}",
  ),
)

CUB = RegisteredSet(
  name="cub",
  licence=(
    "none stated with the files; the photographs are from Flickr and belong to their photographers"
  ),
  sizes=PublishedSizes(5_994, 5_794, 200, image_shape=None),
  tfds_name="caltech_birds2011",
  remotes=(
    RemoteFile(
      url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
      name="CUB_200_2011.tgz",
      size=1_150_585_339,
      sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
    ),
  ),
  form=CubFormat(),
  unpacks="CUB_200_2011",
  by_hand=("tar -xzf {folder}/CUB_200_2011.tgz -C {folder}",),
)

SETS = {spec.name: spec for spec in (CIFAR10, CIFAR100, SVHN, TINY_IMAGENET, CUB)}

SIZES = {spec.name: spec.sizes for spec in SETS.values()}

# What may be done with a set, in its authors' words; of those alone that sdt knows.
LICENCES = {
  "digits": (
    "CC BY 4.0: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine "
    "Learning Repository; the copy of scikit-learn"
  ),
  "shapes": "none needed: drawn by sdt",
} | {spec.name: spec.licence for spec in SETS.values()}
