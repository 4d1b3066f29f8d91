"""What the documents name besides the blocks of the tables, and what chooses it here."""

import dataclasses
import types
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Technique:
  """A row: something that the documents name, and that is there without a table of its own.

  Attributes:
    documents: that name it; 000 is the paper.
    chosen_by: config keys with or without a value, phases of an arm, commands, or functions; empty
      for what every run has.
    test: the test that shows it, a path from the root.
    note: what a user must know besides, a clause; empty for nothing.
  """

  documents: str
  chosen_by: tuple[str, ...]
  test: str
  note: str = ""


# By group, and by the field's name. What becomes there is a row here, and leaves NOT_BUILT.
TECHNIQUES: Mapping[str, Mapping[str, Technique]] = types.MappingProxyType(
  {
    "Loss and initial weights": {
      "softmax and cross-entropy": Technique(
        "000, 002, 003", (), "tests/engine/test_step_torch.py", note="in every run"
      ),
      "bias 0, bias 0.01 for ReLU": Technique(
        "002, 004", ("model.bias_start=0.01",), "tests/models/test_whole_runs.py"
      ),
      "variance scaling": Technique(
        "004",
        ("model.initialisation=he_fan_in", "model.initialisation=xavier_glorot"),
        "tests/models/test_initialisation.py",
        note="its usual factors; another by the factor of `xavier_glorot`",
      ),
      "pretrained weights": Technique(
        "002, 004", ("model.pretrained",), "tests/models/test_pretrained.py"
      ),
    },
    "Training": {
      "batch, stochastic and mini-batch gradient descent": Technique(
        "002, 004", ("batch_size",), "tests/inputs/test_order.py"
      ),
      "momentum": Technique("002, 004", ("optim.momentum",), "tests/engine/test_optim.py"),
      "Nesterov's momentum": Technique(
        "002", ("optim.nesterov",), "tests/engine/test_optimisers.py"
      ),
      "quasi-Newton steps": Technique(
        "002",
        ("optim.name=lbfgs",),
        "tests/engine/test_optimisers.py",
        note="BFGS itself is not there: see below",
      ),
      "gradient check": Technique(
        "002", ("run.py doctor --steps=1",), "tests/engine/test_gradient_check.py"
      ),
      "warm-up of the learning rate": Technique(
        "002, 004", ("optim.warmup_rounds",), "tests/engine/test_schedule.py"
      ),
      "linear scaling rule": Technique(
        "002", ("optim.reference_batch",), "tests/engine/test_schedule.py"
      ),
      "learning rate at which the loss falls in a hundred steps": Technique(
        "002", ("run.py doctor --steps=4",), "tests/doctor/test_steps.py"
      ),
    },
    "Regularisation": {
      "L2, weight decay": Technique(
        "000, 002, 003, 004",
        ("optim.weight_decay", "optim.decay_form", "A@lambda_A + B@lambda_B"),
        "tests/engine/test_optim.py",
        note="three forms, by phase",
      ),
      "L1": Technique("000, 002, 004", ("optim.l1",), "tests/engine/test_optimisers.py"),
      "elastic net": Technique(
        "002", ("optim.l1", "optim.weight_decay"), "tests/engine/test_optimisers.py"
      ),
      "early stopping, best state kept": Technique(
        "000, 002, 004", ("stop.patience",), "tests/run/test_stopping.py"
      ),
      "dropout": Technique(
        "000, 002, 003, 004",
        ("model.dropout", "everywhere='dropout=0.3'", "A@lambda_A[dropout=0.3]"),
        "tests/models/test_dropout.py",
      ),
      "dropout as an ensemble (MC dropout)": Technique(
        "002, 004", ("evaluate.dropout_samples",), "tests/stages/test_further_answers.py"
      ),
      "DropConnect": Technique("002", ("regularise.drop_connect",), "tests/models/test_dropout.py"),
      "stochastic depth": Technique(
        "002", ("regularise.stochastic_depth",), "tests/models/test_dropout.py"
      ),
      "label smoothing": Technique(
        "none of them",
        ("regularise.label_smoothing",),
        "tests/engine/test_regularisers.py",
        note="kept because users expect it",
      ),
      "distillation": Technique(
        "none of them",
        ("regularise.distil", "regularise.distil_mean", "regularise.distil_classes"),
        "tests/engine/test_teacher.py",
        note="a candidate that may beat the best uniform decay",
      ),
      "exponential average of the weights": Technique(
        "none of them", ("optim.average",), "tests/engine/test_averages.py"
      ),
      "flooding of the loss": Technique(
        "none of them", ("regularise.loss_floor",), "tests/engine/test_regularisers.py"
      ),
      "wrong labels on purpose": Technique(
        "000, 003", ("data.wrong_label_fraction", "data.labels_file"), "tests/data/test_labels.py"
      ),
      "scale jitter: a random size, then a random crop": Technique(
        "000, 002, 003",
        ("augment.ops=resized_crop(0.25)", "augment.ops=zoom(0.5)"),
        "tests/engine/test_crops.py",
        note="the size is drawn as a share of the image, not in pixels",
      ),
    },
    "Against class imbalance": {
      "random over-sampling": Technique(
        "003", ("over_all@baseline:all",), "tests/arms/test_resampling.py"
      ),
      "random under-sampling": Technique(
        "003", ("under_all@baseline:all",), "tests/arms/test_resampling.py"
      ),
      "cluster-based over-sampling": Technique(
        "003", ("cluster_all@baseline:all",), "tests/arms/test_resampling.py"
      ),
      "weighted drawing (WeightedRandomSampler)": Technique(
        "003", ("all@baseline[class_balance=1]",), "tests/engine/test_class_regularisers.py"
      ),
      "class weights": Technique(
        "003", ("all@baseline[class_weight=1]",), "tests/engine/test_class_regularisers.py"
      ),
      "logit adjustment": Technique(
        "none of them",
        ("all@baseline[logit_adjustment=1]",),
        "tests/engine/test_class_regularisers.py",
      ),
      "threshold moving": Technique(
        "003",
        ("data.imbalance",),
        "tests/stages/test_imbalance.py",
        note="by the class shares, in the results of every imbalanced set",
      ),
      "threshold moving, as far as a validation split says": Technique(
        "003",
        ("evaluate.prior_shift=2", "data.validation_fraction"),
        "tests/stages/test_prior_shift.py",
      ),
      "SMOTE on over-sampled classes": Technique(
        "003", ("augment.ops=smote", "over_all@baseline[smote=1]:all"), "tests/engine/test_smote.py"
      ),
      "bagging of under-sampled sets": Technique(
        "003",
        ("under_all@baseline:all", "evaluate.ensemble"),
        "tests/arms/test_resampling.py",
        note="each seed draws a set of its own",
      ),
    },
    "Partial labels": {
      "MixMatch": Technique(
        "003",
        ("data.labelled", "all&unlabelled@baseline[mixmatch=75]"),
        "tests/engine/test_semi.py",
      ),
      "FixMatch": Technique(
        "003", ("data.labelled", "all&unlabelled@baseline[fixmatch=1]"), "tests/engine/test_semi.py"
      ),
      "self-supervised pretraining": Technique(
        "003",
        ("data.pretext=rotation", "model.pretrained"),
        "tests/data/test_pretext.py",
        note="rotation as the pretext",
      ),
    },
    "Networks": {
      "LeNet, AlexNet": Technique(
        "002, 003", ("model.name=lenet", "model.name=alexnet"), "tests/models/test_classics.py"
      ),
      "VGG": Technique(
        "000, 002", ("model.name=vgg16", "model.name=vgg19"), "tests/models/test_vgg.py"
      ),
      "ResNet of basic and bottleneck blocks": Technique(
        "000, 002, 003",
        ("model.name=resnet20", "model.name=resnet50", "model.shortcut"),
        "tests/models/test_imagenet_resnets.py",
        note="20, 56, 110, 18, 34, 50",
      ),
      "ResNet with preactivation": Technique(
        "000", ("model.name=preresnet110",), "tests/models/test_preresnet.py"
      ),
      "wide ResNet": Technique("000", ("model.name=wrn28_10",), "tests/models/test_wide_resnet.py"),
      "DenseNet": Technique(
        "000",
        ("model.name=densenet_bc100", "model.name=densenet121"),
        "tests/models/test_densenet.py",
      ),
      "ViT, CaiT": Technique(
        "003", ("model.name=vit_tiny", "model.name=cait_xxs24"), "tests/models/test_transformers.py"
      ),
    },
    "Transfer, ensembles, test time": {
      "feature extraction: a frozen body, a new head": Technique(
        "002",
        ("model.pretrained", "optim.body_rate_factor=0"),
        "tests/engine/test_frozen_stages.py",
      ),
      "fine-tuning at a lower rate, more layers for more data": Technique(
        "002",
        ("optim.body_rate_factor=0.1", "optim.train_from"),
        "tests/stages/test_finetuning_runs.py",
      ),
      "a linear classifier on features": Technique(
        "002", ("run.py probe",), "tests/commands/test_probe.py", note="on every stage"
      ),
      "from scratch against pretrained": Technique(
        "002",
        ("model.pretrained", "run.py compare"),
        "tests/trained/test_comparing.py",
        note="two runs, paired by seed",
      ),
      "weights of a model zoo": Technique(
        "002",
        ("model.pretrained",),
        "tests/models/test_pretrained.py",
        note="files with the names of torchvision or timm",
      ),
      "ensembles of networks": Technique(
        "002, 003", ("evaluate.ensemble",), "tests/stages/test_further_answers.py"
      ),
      "snapshot ensembles": Technique(
        "none of them", ("evaluate.snapshots",), "tests/stages/test_further_answers.py"
      ),
      "test-time augmentation": Technique(
        "002, 003", ("evaluate.views",), "tests/stages/test_further_answers.py"
      ),
    },
    "Search": {
      "grid search": Technique(
        "002, 004", ("select.method=grid", "sweep.key"), "tests/run/search/test_proposals.py"
      ),
      "random search": Technique(
        "002, 004", ("select.method=random",), "tests/run/search/test_proposals.py"
      ),
      "Bayesian optimisation (SMBO) with expected improvement": Technique(
        "004", ("select.method=bayes",), "tests/run/search/test_proposals.py"
      ),
      "successive halving": Technique(
        "004", ("select.method=halving",), "tests/run/search/test_rungs.py"
      ),
      "AutoML in a few lines of Python": Technique(
        "003", ("sdt.fit(images, labels, minutes=10)",), "tests/api/test_fitting.py"
      ),
      "sizes of a network as hyper-parameters": Technique(
        "004",
        ("select.space",),
        "tests/config/test_search_space.py",
        note="such as `model.widths = choice((8, 16), (16, 32))`",
      ),
      "the recipe in seven steps": Technique(
        "002", ("run.py doctor",), "tests/doctor/test_faults.py"
      ),
      "folds of the training set": Technique(
        "002",
        ("score.folds",),
        "tests/stages/test_out_of_fold.py",
        note="for scores of what a network has not seen; hyper-parameters are chosen on one "
        "validation split",
      ),
      "many curves side by side (command centre)": Technique(
        "002", ("log.tensorboard", "log.wandb", "log.mlflow"), "tests/run/loggers/test_loggers.py"
      ),
    },
    "Monitoring": {
      "loss of every step with a moving average": Technique(
        "002", ("monitor.steps",), "tests/run/test_step_losses.py"
      ),
      "gap between training and validation, its diagnosis in words": Technique(
        "002", ("run.py doctor --steps=7",), "tests/stats/test_curve_diagnosis.py"
      ),
      "dead and saturated units, spread of activations": Technique(
        "002, 004", ("monitor.units",), "tests/engine/test_units.py"
      ),
      "class activation maps": Technique(
        "000",
        (),
        "tests/engine/test_activation_maps.py",
        note="in every run of a network that ends in a mean over its last pixels; of "
        "transformers attention rollout",
      ),
    },
  }
)
