"""Your own images, a folder per class: DIR/train/CLASS/* and DIR/test/CLASS/*, or a share held out.

    python run.py --config=configs/folder.py --config.data.path=DIR
    python run.py --config=configs/folder.py --config.data.path=DIR --config.data.test_fraction=0.2

Images are resized to 32x32. `--dry_run` tells the time. For less of it: a small network
(`--config.model.name=resnet8`), small images (`--config.data.image_size=16`), and few rounds
(`--config.rounds=30 --config.optim.milestones=15,22`). Where a mirrored image is another thing, as
with digits and text: `--config.augment.flip=False`. Time and accuracy depend on the images.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "folder", "image_size": 32}
  config.model = {"name": "resnet20"}
  config.seeds = (0, 1, 2)
  config.rounds = 100
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"milestones": (50, 75)}
  config.method = {"lambda_A": 1e-3}
  config.score = {"course": True}  # review.html shows how each image was learnt
  return config
