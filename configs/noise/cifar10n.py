"""Labels that people gave: 5,000 images of CIFAR-10, labels of CIFAR-10N; ResNet-8, five seeds.

    python run.py --config=configs/noise/cifar10n.py:random1 --config.data.path=FILE

After the colon stands which labels: aggregate (9 % of all are wrong), random1 (17 %), worst (40 %).
They are those of Wei et al. 2022, "Learning with Noisy Labels Revisited: A Study Using Real-World
Human Annotations" (CC BY-NC 4.0), and sdt does not ship them: docs/data.md, "Labels from a file",
has the lines that make cifar10n.npz of what the authors published. It is expected in the working
folder; `--config.data.labels_file=FILE` names another. CIFAR-10's own labels are the truth by which
the scores are graded, and the test set keeps them.

The scores are those of networks that have not seen the example: four folds, which quadruples the
work before the split. A is the hardest 15 %, and the arms ask what to do with it without a person:
`cleaned` leaves it out, `weighted` counts it at 0.3 of its loss, `random_cut` leaves out as many at
random. All take as many steps as the baseline. `weighted` has a phase of A alone, which is not
balanced by class and may collapse: docs/method.md, "A collapsed training".
Grades, and the accuracy of the arms on random1: docs/results/label_noise.md.
"""

from ml_collections import ConfigDict

KINDS = ("aggregate", "random1", "random2", "random3", "worst")


def get_config(kind: str = "random1") -> ConfigDict:
  if kind not in KINDS:
    raise ValueError(f"{kind!r}: expected one of {', '.join(KINDS)}")
  config = ConfigDict()
  config.data = {
    "name": "cifar10",
    "num_train": 5_000,
    "labels_file": "cifar10n.npz",
    "labels_key": kind,
  }
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 15
  config.batch_size = 125  # divides all parts: no batch of a few examples
  config.eval_every_rounds = 15
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"milestones": (10, 13)}
  config.score = {"name": "margin", "folds": 4, "probabilities": True}
  config.split = {"policy": "bottom"}
  config.method = {"fraction": 0.15}
  config.own_arms = (
    "cleaned = B@baseline:all against baseline",
    "weighted = A@baseline[loss_weight=0.3] + B@baseline against baseline",
    "random_cut = random_B@baseline:all against baseline",
  )
  config.arms = ("baseline", "cleaned", "weighted", "random_cut")
  return config
