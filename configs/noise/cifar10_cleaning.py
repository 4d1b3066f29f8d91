"""What does it help to leave out suspicious labels? 5,000 images of CIFAR-10 at 16 x 16, ten seeds.

    python run.py --config=configs/noise/cifar10_cleaning.py:planted20 --config.data.path=FILE

After the colon stands which labels are wrong: planted10 and planted20 (that share, on purpose), or
human (those that one person gave each image; `random1` of CIFAR-10N, in cifar10n.npz as
configs/noise/cifar10n.py explains; about 17 %). A are the examples of the lowest area under the
margin: as many as labels are planted, or 15 % of all. No arm has another decay than the baseline,
and all take as many steps: `cleaned` leaves A out, `random_cut` as many at random, `weighted`
counts A at 0.3 of its loss, and `oracle` leaves out what is wrong in truth.

A is not balanced by class. It has no phase of its own here, in which a training may collapse:
docs/method.md, "A collapsed training".

Design and outcome: docs/results/cleaning_cifar10.md.
"""

from ml_collections import ConfigDict

WRONG = {"planted10": 0.1, "planted20": 0.2, "human": 0.15}


def get_config(kind: str = "planted20") -> ConfigDict:
  if kind not in WRONG:
    raise ValueError(f"{kind!r}: expected one of {', '.join(WRONG)}")
  labels = {"wrong_label_fraction": WRONG[kind]}
  if kind == "human":
    labels = {"labels_file": "cifar10n.npz", "labels_key": "random1"}
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2, **labels}
  config.model = {"name": "resnet8"}
  config.seeds = tuple(range(100, 110))
  config.rounds = 30
  config.batch_size = 125  # divides what every arm but the human oracle has left
  config.eval_every_rounds = 10
  config.augment = {"pad_crop": 2, "flip": True}
  config.optim = {"milestones": (15, 22), "weight_decay": 1e-3}
  config.score = {"name": "aum"}
  config.split = {"policy": "bottom"}
  config.method = {"fraction": WRONG[kind]}
  config.own_arms = (
    "cleaned = B@baseline:all against baseline",
    "weighted = A@baseline[loss_weight=0.3] | B@baseline against baseline",
    "random_cut = random_B@baseline:all against baseline",
    "oracle = clean@baseline:all against baseline",
  )
  config.arms = ("baseline", "cleaned", "weighted", "random_cut", "oracle")
  return config
