"""What the documents name and this program does not have: why not, and what to do instead."""

import dataclasses
import types
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Absent:
  """A row.

  Attributes:
    documents: that name it.
    reason: why it is not there, a clause.
    way_out: what a user can do, an imperative; empty where there is nothing.
  """

  documents: str
  reason: str
  way_out: str = ""


# By the field's names.
NOT_BUILT: Mapping[str, Absent] = types.MappingProxyType(
  {
    "K-FAC": Absent(
      "002",
      "kfac-jax 0.0.8 cannot be imported beside the jax of requirements.lock, and its curvature "
      "blocks are a program of their own",
      "take `optim.name=lbfgs` for whole batches, or `adam`",
    ),
    "BFGS with a full matrix": Absent(
      "002",
      "its matrix has the square of the number of parameters, and gains nothing over L-BFGS at "
      "sizes that fit",
      "take `optim.name=lbfgs`, or `newton` below 2,000 parameters",
    ),
    "Hessian spectra, saddle points": Absent(
      "002, 004",
      "an eigenvalue of a network says nothing about which example regularises what",
      "`optim.name=newton` has the eigenvalues of small networks, and climbs to no saddle",
    ),
    "gradient variance by batch size": Absent(
      "004",
      "needs the gradient of every example at many batch sizes, a study of its own",
      "compare `gradient_norm` of metrics.jsonl over `sweep.key=batch_size`; `score.grand` has the "
      "norm of every example's gradient",
    ),
    "random-walk initialisation": Absent(
      "002",
      "cited only; it is for deep plain networks, where the blocks above do the same job",
      "take `model.start=lsuv` or `model.initialisation=orthogonal`",
    ),
    "lottery tickets": Absent(
      "002",
      "cited only; it prunes and trains again many times, and prunes weights, not examples",
    ),
    "ICA": Absent(
      "003",
      "named only, as a use of whitening; its components have no order",
      "take `data.normalise=pca` or `zca`; components made elsewhere come as vectors "
      "(`data.name=npz`)",
    ),
    "synthetic images from a GAN": Absent(
      "003",
      "it is a second model to train and to judge, and what it makes has no example id",
      "make the images elsewhere and add them to the training folder",
    ),
    "text rendering": Absent(
      "003",
      "it makes images of words by rules, for readers of text",
      "render elsewhere, and add the images to the training folder",
    ),
    "AutoAugment's learned search": Absent(
      "002, 004",
      "it trains thousands of networks to find one policy",
      "take the policy that was found (`augment.ops=auto_augment`), or search strengths: "
      "`select.space` over `augment.ops`",
    ),
    "boosted under-sampled sets (EasyEnsemble, RUSBoost)": Absent(
      "003",
      "a member of a boosted ensemble depends on those before it, and seeds are independent here",
      "take the mean of seeds with `under_all@baseline:all`, which is the bagging form",
    ),
    "UDA, ReMixMatch": Absent(
      "003",
      "named only; most of both is in FixMatch and MixMatch",
      "take `fixmatch` with `augment.strong`, or `mixmatch`",
    ),
    "contrastive pretraining (SimCLR)": Absent(
      "003",
      "it needs two views of every image in very large batches, and a loss over pairs",
      "take `data.pretext=rotation`",
    ),
    "weakly supervised learning": Absent(
      "003",
      "named only, and many things at once",
      "train on labels that may be wrong: `data.labels_file`, `data.corrections`",
    ),
    "neural architecture search": Absent(
      "004",
      "beyond sizes a space of networks is a program of its own",
      "search names and sizes: `select.space` over `model.name`, `model.widths`, `model.depth`",
    ),
    "cross-validation of hyper-parameters": Absent(
      "002",
      "every candidate would be trained once for every fold",
      "choose on one validation split with several seeds (`select.space`, `select.num_seeds`)",
    ),
    "AdaBoost, bagging of trees, random forests": Absent(
      "003",
      "they train no network; scikit-learn has them",
      "run them on the same arrays, and compare their accuracy by hand",
    ),
    "LightGBM, CatBoost": Absent(
      "003",
      "boosted trees, named as parts of AutoGluon; packages of their own",
      "run them on the same arrays",
    ),
    "AutoGluon": Absent(
      "003",
      "a program of its own, on torch; document 003 uses it as it is",
      "`sdt.fit(images, labels, minutes=10)` is as short",
    ),
    "layer-wise, adaptive or Bayesian weight decay": Absent(
      "000",
      "related work of the paper: its decay differs by example, these by weight",
      "`optim.decay_what`, `optim.body_rate_factor` and `optim.train_from` tell weights apart",
    ),
    "standout, variational, noise-weighted and attention dropout": Absent(
      "000",
      "related work of the paper: each learns or changes its rate",
      "take `dropout` by phase: `A@baseline[dropout=0.3] + B@baseline`",
    ),
    "detection, captioning, language and video models": Absent(
      "002, 003",
      "context: Fast, Faster and Mask R-CNN, CNN with RNN, word2vec, BERT, GPT, Unified VLP, "
      "SlowFast, Sparse Transformers, and the sets Visual Genome, COCO and Kinetics classify no "
      "images",
    ),
  }
)
