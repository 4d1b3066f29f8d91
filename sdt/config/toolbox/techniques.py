"""What the documents name besides the blocks of the tables, and what chooses it here."""

import dataclasses
import types
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Technique:
  """A row: something that the documents name, and that is there without a table of its own.

  Attributes:
    name: the field's name.
    documents: that name it; 000 is the paper.
    chosen_by: config keys with or without a value, phases of an arm, or commands; empty for what
      every run has.
    test: the test that shows it, a path from the root.
    note: what a user must know besides, a clause; empty for nothing.
  """

  name: str
  documents: str
  chosen_by: tuple[str, ...]
  test: str
  note: str = ""


_OPTIMISERS = "tests/engine/test_optimisers.py"
_OPTIM = "tests/engine/test_optim.py"
_REGULARISERS = "tests/engine/test_regularisers.py"
_CLASSES = "tests/engine/test_class_regularisers.py"
_RESAMPLING = "tests/arms/test_resampling.py"
_FURTHER = "tests/stages/test_further_answers.py"
_SEARCH = "tests/run/search/test_proposals.py"

TECHNIQUES: Mapping[str, tuple[Technique, ...]] = types.MappingProxyType(
  {
    "Loss and initial weights": (
      Technique(
        "softmax and cross-entropy",
        "000, 002, 003",
        (),
        test="tests/engine/test_step_torch.py",
        note="in every run",
      ),
      Technique(
        "bias 0, bias 0.01 for ReLU",
        "002, 004",
        ("model.bias_start=0.01",),
        test="tests/models/test_whole_runs.py",
      ),
      Technique(
        "variance scaling",
        "004",
        ("model.initialisation=he_fan_in", "model.initialisation=xavier_glorot"),
        test="tests/models/test_initialisation.py",
        note="its usual factors; another by the factor of `xavier_glorot`",
      ),
      Technique(
        "pretrained weights",
        "002, 004",
        ("model.pretrained",),
        test="tests/models/test_pretrained.py",
      ),
    ),
    "Training": (
      Technique(
        "batch, stochastic and mini-batch gradient descent",
        "002, 004",
        ("batch_size",),
        test="tests/inputs/test_order.py",
      ),
      Technique("momentum", "002, 004", ("optim.momentum",), test=_OPTIM),
      Technique("Nesterov's momentum", "002", ("optim.nesterov",), test=_OPTIMISERS),
      Technique(
        "quasi-Newton steps",
        "002",
        ("optim.name=lbfgs",),
        test=_OPTIMISERS,
        note="BFGS itself is not there: see below",
      ),
      Technique(
        "gradient check",
        "002",
        ("run.py doctor --steps=1",),
        test="tests/engine/test_gradient_check.py",
      ),
      Technique(
        "warm-up of the learning rate",
        "002, 004",
        ("optim.warmup_rounds",),
        test="tests/engine/test_schedule.py",
      ),
      Technique(
        "linear scaling rule",
        "002",
        ("optim.reference_batch",),
        test="tests/engine/test_schedule.py",
      ),
      Technique(
        "learning rate at which the loss falls in a hundred steps",
        "002",
        ("run.py doctor --steps=4",),
        test="tests/doctor/test_steps.py",
      ),
    ),
    "Regularisation": (
      Technique(
        "L2, weight decay",
        "000, 002, 003, 004",
        ("optim.weight_decay", "optim.decay_form", "A@lambda_A + B@lambda_B"),
        test=_OPTIM,
        note="three forms, by phase",
      ),
      Technique("L1", "000, 002, 004", ("optim.l1",), test=_OPTIMISERS),
      Technique(
        "elastic net",
        "002",
        ("optim.l1", "optim.weight_decay"),
        test=_OPTIMISERS,
      ),
      Technique(
        "early stopping, best state kept",
        "000, 002, 004",
        ("stop.patience",),
        test="tests/run/test_stopping.py",
      ),
      Technique(
        "dropout",
        "000, 002, 003, 004",
        ("model.dropout", "regularise.dropout"),
        test="tests/models/test_dropout.py",
      ),
      Technique(
        "dropout as an ensemble (MC dropout)",
        "002, 004",
        ("evaluate.dropout_samples",),
        test=_FURTHER,
      ),
      Technique(
        "DropConnect", "002", ("regularise.drop_connect",), test="tests/models/test_dropout.py"
      ),
      Technique(
        "stochastic depth",
        "002",
        ("regularise.stochastic_depth",),
        test="tests/models/test_dropout.py",
      ),
      Technique(
        "label smoothing",
        "none of them",
        ("regularise.label_smoothing",),
        test=_REGULARISERS,
        note="kept because users expect it",
      ),
      Technique(
        "exponential average of the weights",
        "none of them",
        ("optim.average",),
        test="tests/engine/test_averages.py",
      ),
      Technique(
        "flooding of the loss", "none of them", ("regularise.loss_floor",), test=_REGULARISERS
      ),
      Technique(
        "wrong labels on purpose",
        "000, 003",
        ("data.wrong_label_fraction", "data.labels_file"),
        test="tests/data/test_labels.py",
      ),
      Technique(
        "scale jitter: a random size, then a random crop",
        "000, 002, 003",
        ("augment.ops=resized_crop(0.25)", "augment.ops=zoom(0.5)"),
        test="tests/engine/test_crops.py",
        note="the size is drawn as a share of the image, not in pixels",
      ),
    ),
    "Against class imbalance": (
      Technique("random over-sampling", "003", ("over_all@baseline:all",), test=_RESAMPLING),
      Technique("random under-sampling", "003", ("under_all@baseline:all",), test=_RESAMPLING),
      Technique(
        "cluster-based over-sampling", "003", ("cluster_all@baseline:all",), test=_RESAMPLING
      ),
      Technique(
        "weighted drawing (WeightedRandomSampler)",
        "003",
        ("all@baseline[class_balance=1]",),
        test=_CLASSES,
      ),
      Technique("class weights", "003", ("all@baseline[class_weight=1]",), test=_CLASSES),
      Technique(
        "logit adjustment", "none of them", ("all@baseline[logit_adjustment=1]",), test=_CLASSES
      ),
      Technique(
        "threshold moving",
        "003",
        ("data.imbalance",),
        test="tests/stages/test_imbalance.py",
        note="by the class shares, in the results of every imbalanced set",
      ),
      Technique(
        "threshold moving, as far as a validation split says",
        "003",
        ("evaluate.prior_shift=2", "data.validation_fraction"),
        test="tests/stages/test_prior_shift.py",
      ),
      Technique(
        "SMOTE on over-sampled classes",
        "003",
        ("augment.ops=smote", "over_all@baseline[smote=1]:all"),
        test="tests/engine/test_smote.py",
      ),
      Technique(
        "bagging of under-sampled sets",
        "003",
        ("under_all@baseline:all", "evaluate.ensemble"),
        test=_RESAMPLING,
        note="each seed draws a set of its own",
      ),
    ),
    "Partial labels": (
      Technique(
        "MixMatch",
        "003",
        ("data.labelled", "all&unlabelled@baseline[mixmatch=75]"),
        test="tests/engine/test_semi.py",
      ),
      Technique(
        "FixMatch",
        "003",
        ("data.labelled", "all&unlabelled@baseline[fixmatch=1]"),
        test="tests/engine/test_semi.py",
      ),
      Technique(
        "self-supervised pretraining",
        "003",
        ("data.pretext=rotation", "model.pretrained"),
        test="tests/data/test_pretext.py",
        note="rotation as the pretext",
      ),
    ),
    "Networks": (
      Technique(
        "LeNet, AlexNet",
        "002, 003",
        ("model.name=lenet", "model.name=alexnet"),
        test="tests/models/test_classics.py",
      ),
      Technique(
        "VGG",
        "000, 002",
        ("model.name=vgg16", "model.name=vgg19"),
        test="tests/models/test_vgg.py",
      ),
      Technique(
        "ResNet of basic and bottleneck blocks",
        "000, 002, 003",
        ("model.name=resnet20", "model.name=resnet50", "model.shortcut"),
        test="tests/models/test_imagenet_resnets.py",
        note="20, 56, 110, 18, 34, 50",
      ),
      Technique(
        "ResNet with preactivation",
        "000",
        ("model.name=preresnet110",),
        test="tests/models/test_preresnet.py",
      ),
      Technique(
        "wide ResNet", "000", ("model.name=wrn28_10",), test="tests/models/test_wide_resnet.py"
      ),
      Technique(
        "DenseNet",
        "000",
        ("model.name=densenet_bc100", "model.name=densenet121"),
        test="tests/models/test_densenet.py",
      ),
      Technique(
        "ViT, CaiT",
        "003",
        ("model.name=vit_tiny", "model.name=cait_xxs24"),
        test="tests/models/test_transformers.py",
      ),
    ),
    "Transfer, ensembles, test time": (
      Technique(
        "feature extraction: a frozen body, a new head",
        "002",
        ("model.pretrained", "optim.body_rate_factor=0"),
        test="tests/engine/test_frozen_stages.py",
      ),
      Technique(
        "fine-tuning at a lower rate, more layers for more data",
        "002",
        ("optim.body_rate_factor=0.1", "optim.train_from"),
        test="tests/stages/test_finetuning_runs.py",
      ),
      Technique(
        "a linear classifier on features",
        "002",
        ("run.py probe",),
        test="tests/commands/test_probe.py",
        note="on every stage",
      ),
      Technique(
        "from scratch against pretrained",
        "002",
        ("model.pretrained", "run.py compare"),
        test="tests/trained/test_comparing.py",
        note="two runs, paired by seed",
      ),
      Technique(
        "weights of a model zoo",
        "002",
        ("model.pretrained",),
        test="tests/models/test_pretrained.py",
        note="files with the names of torchvision or timm",
      ),
      Technique("ensembles of networks", "002, 003", ("evaluate.ensemble",), test=_FURTHER),
      Technique("snapshot ensembles", "none of them", ("evaluate.snapshots",), test=_FURTHER),
      Technique("test-time augmentation", "002, 003", ("evaluate.views",), test=_FURTHER),
    ),
    # A technique that becomes there is a row here, and leaves the list of what is not built.
    "Search": (
      Technique("grid search", "002, 004", ("select.method=grid", "sweep.key"), test=_SEARCH),
      Technique("random search", "002, 004", ("select.method=random",), test=_SEARCH),
      Technique(
        "Bayesian optimisation (SMBO) with expected improvement",
        "004",
        ("select.method=bayes",),
        test=_SEARCH,
      ),
      Technique(
        "successive halving",
        "004",
        ("select.method=halving",),
        test="tests/run/search/test_rungs.py",
      ),
      Technique(
        "sizes of a network as hyper-parameters",
        "004",
        ("select.space",),
        test="tests/config/test_search_space.py",
        note="such as `model.widths = choice((8, 16), (16, 32))`",
      ),
      Technique(
        "the recipe in seven steps", "002", ("run.py doctor",), test="tests/doctor/test_faults.py"
      ),
      Technique(
        "folds of the training set",
        "002",
        ("score.folds",),
        test="tests/stages/test_out_of_fold.py",
        note="for scores of what a network has not seen; hyper-parameters are chosen on one validation "
        "split",
      ),
      Technique(
        "many curves side by side (command centre)",
        "002",
        ("log.tensorboard", "log.wandb", "log.mlflow"),
        test="tests/run/loggers/test_loggers.py",
      ),
    ),
    "Monitoring": (
      Technique(
        "loss of every step with a moving average",
        "002",
        ("monitor.steps",),
        test="tests/run/test_step_losses.py",
      ),
      Technique(
        "gap between training and validation, its diagnosis in words",
        "002",
        ("run.py doctor --steps=7",),
        test="tests/stats/test_curve_diagnosis.py",
      ),
      Technique(
        "dead and saturated units, spread of activations",
        "002, 004",
        ("monitor.units",),
        test="tests/engine/test_units.py",
      ),
      Technique(
        "class activation maps",
        "000",
        (),
        test="tests/engine/test_activation_maps.py",
        note="in every run of a network that ends in a mean over its last pixels; of transformers "
        "attention rollout",
      ),
    ),
  }
)
