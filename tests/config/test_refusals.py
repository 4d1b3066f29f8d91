"""What is refused in a config, and how: one line that names the key and what it takes."""

from pathlib import Path

import ml_collections
import pytest

from sdt.config import resolve
from sdt.errors import ConfigError
from tests.support.overrides import overrides_of

# (overrides as on the command line, what the message must hold)
BAD_OVERRIDES = [
  (
    "optim.learning_rat=1",
    "optim.learning_rat: no such key; did you mean --config.optim.learning_rate?",
  ),
  ("optim.lr=1", "did you mean --config.optim.learning_rate?"),
  ("learning_rate=1", "did you mean --config.optim.learning_rate?"),
  ("method.lambda_a=1", "did you mean --config.method.lambda_A?"),
  ("data.shape.num_train=1", "did you mean --config.data.shapes.num_train?"),
  ("Rounds=1", "did you mean --config.rounds?"),
  ("qqq=1", "did you mean --config."),
  ("=1", "did you mean --config."),
  ("optim=adam", "optim is a section, not a value; its keys are optim.name,"),
  ("data.shapes=5", "data.shapes is a section, not a value"),
  ("seeds.first=5", "seeds is a value, not a section"),
  ("rounds=1.5", "--config.rounds=1.5: expected an integer at least 1"),
  ("rounds=10.0", "expected an integer"),
  ("rounds=1e3", "expected an integer"),
  ("rounds=True", "expected an integer"),
  ("rounds=ten", "expected an integer"),
  ("rounds=", "expected an integer"),
  ("rounds=None", "expected an integer"),
  ("rounds=(5,)", "expected an integer"),
  ("rounds=0", "at least 1"),
  ("rounds=-3", "at least 1"),
  ("rounds=2147483648", "integers end at 2147483647"),
  ("rounds=" + "9" * 5000, "expected an integer"),
  ("optim.learning_rate=nan", "optim.learning_rate=nan: expected a finite number above 0"),
  ("optim.learning_rate=inf", "expected a finite number"),
  ("optim.learning_rate=1e999", "expected a finite number"),
  ("optim.learning_rate=-0.1", "above 0"),
  ("optim.learning_rate=0", "above 0"),
  ("optim.learning_rate=0,1", "expected a finite number"),
  ("optim.learning_rate=False", "expected a finite number"),
  ("optim.momentum=1", "below 1"),
  ("method.lambda_A=-1e-9", "at least 0"),
  ("method.fraction=0", "above 0, below 1 (share of the training set"),
  ("method.fraction=1", "above 0, below 1"),
  ("method.fraction=10", "above 0, below 1"),
  ("augment.flip=1", "expected True or False"),
  ("augment.flip=yes", "expected True or False"),
  ("augment.pad_crop=65", "at most 64"),
  ("optim.schedule=steps", "there is no 'steps'; did you mean 'step'?"),
  ("data.name=cifar", "'cifar10', 'cifar100'"),
  (
    "acquire.strategies=random,margn",
    "no item twice, such as ('random', 'margin'); 'margn' is none of these; did you mean 'margin'?",
  ),
  ("score.name=normalised_margin", "did you mean 'normalized_margin'?"),
  (
    "data.normalise=chanel",
    "there is no 'chanel'; did you mean 'channel'?",
  ),
  ("data.normalise=zca(-1)", "epsilon = -1 of zca(epsilon=0.1): expected a number at least 0"),
  (
    "data.normalise=dc dc",
    "data.normalise = 'dc dc': a block stands twice, and the second time it changes nothing; name "
    "it once",
  ),
  ("data.normalise=zca,pca model.name=mlp", "choose one of pca and zca"),
  ("data.normalise=pca,dc model.name=mlp", "name pca last"),
  (
    "data.normalise=pca model.name=resnet20",
    "data.normalise = 'pca' with model.name = 'resnet20': components have no places",
  ),
  (
    "data.normalise=pixel data.crop_size=8",
    "data.normalise = 'pixel' with data.crop_size = 8: a block has a number for every place",
  ),
  (
    "data.normalise=zca data.statistics=imagenet",
    "data.normalise = 'zca' with data.statistics = 'imagenet': these statistics are a mean",
  ),
  (
    "split.policy=window",
    (
      "split.policy = 'window': expected split.window_start too, such as "
      "--config.split.window_start=0.1"
    ),
  ),
  ("split.policy=mislabel_cut", "split.policy = 'mislabel_cut': expected split.cut too"),
  (
    "split.policy=threshold split.threshold=1",
    "the seeds could not be compared; choose split.source='mean'",
  ),
  ("split.cut=0.1", "split.cut = 0.1 has no meaning with split.policy = 'top'"),
  (
    "split.policy=window split.window_start=0.1 split.threshold=1",
    "split.threshold = 1.0 has no meaning with split.policy = 'window'",
  ),
  (
    "split.policy=threshold split.threshold=1 split.source=mean method.num_easy=7",
    "method.num_easy = 7 has no meaning with split.policy",
  ),
  ("data.path=", "it is empty"),
  ("data.path='half", "its quotes do not match"),
  ("data.path=a\0b", "it holds a NUL character"),
  ("seeds=()", "1 or more items"),
  ("seeds=", "it is empty"),
  ("optim.milestones=", "it is empty"),
  ("seeds=(1,2", "its brackets do not match"),
  ("seeds=(1,2]", "its brackets do not match"),
  ("seeds=1,,2", "expected a tuple of integers"),
  ("seeds=1,1", "1 occurs more than once"),
  ("seeds=0,-1", "each at least 0"),
  ("seeds=0,0.5", "expected a tuple of integers"),
  ("arms=baseline,method,baseline", "'baseline' occurs more than once"),
  ("optim.milestones=(20, 10)", "expected rounds in increasing order, (10, 20)"),
  ("optim.milestones=10,10", "10 occurs more than once"),
  ("stats.looks=10,5", "expected numbers of seeds in increasing order, (5, 10)"),
  ("stats.looks=2,5", "each at least 3"),
  ("rounds=5 eval_every_rounds=6", "eval_every_rounds = 6: expected at most rounds = 5"),
  ("rounds=5 rounds=5", "--config.rounds is given twice"),
  ("optim.nesterov=True optim.momentum=0", "optim.nesterov = True: expected"),
  (
    "optim.nesterov=True optim.name=adam",
    "optim.nesterov = True has no meaning with optim.name = 'adam'",
  ),
  (
    "optim.momentum=0.8 optim.name=adam",
    "optim.momentum = 0.8 has no meaning with optim.name = 'adam'; leave it at its default, 0.9",
  ),
  (
    "augment.resized_crop_aspect=2",
    "augment.resized_crop_aspect = 2.0 has no meaning with augment.resized_crop_area = None",
  ),
  (
    "augment.pad_crop=4 augment.resized_crop_area=0.1",
    "augment.pad_crop = 4 has no meaning with augment.resized_crop_area = 0.1",
  ),
  ("augment.ops=rotat(15)", "there is no 'rotat'; did you mean 'rotate'?"),
  ("augment.ops=rotate", "ops=rotate: rotate is written rotate(degrees), here with no number"),
  ("augment.ops=zoom(-1)", "zoom = -1 of zoom(zoom): expected a number at least 0, at most 9"),
  ("augment.ops=crop(2.5)", "pixels = 2.5 of crop(pixels): expected a whole number"),
  ("augment.ops=flip augment.flip=True", "both say what becomes of the images; write flip into"),
  ("augment.ops=flip augment.pad_crop=4", "write crop(pixels) into augment.ops"),
  ("augment.ops=flip crop(4)", "a crop sets the size of the images for what follows; write it f"),
  ("augment.ops=crop(4) resized_crop(0.3)", "each choose the part of the image that is seen"),
  ("augment.ops=mixup(0.2) cutmix(1)", "a batch is mixed once, by one of mixup, cutmix, ricap"),
  ("augment.ops=cutmix(1) flip", "whole batches are mixed after every example has been changed"),
  ("augment.ops=rotate(3) rotate(5)", "an operation stands in it twice, and its strength has one"),
  ("augment.fill=mean", "no operation is named that fills anything"),
  ("augment.fill=white", "expected one of 'black', 'mean', 'noise'"),
  (
    "optim.decay_factor=0.5 optim.schedule=constant",
    "optim.decay_factor = 0.5 has no meaning with optim.schedule = 'constant'",
  ),
  (
    "method.fraction=0.2 method.num_easy=7",
    "method.fraction = 0.2 has no meaning with method.num_easy = 7; leave it at its default, 0.1",
  ),
  (
    "method.init=warm arms=baseline,less_data",
    "method.init = 'warm' has no meaning with arms = ('baseline', 'less_data')",
  ),
  (
    "arms=baseline split.policy=bottom",
    (
      "split.policy = 'bottom' has no meaning with arms = ('baseline',); leave it at its default, "
      "'top', or"
    ),
  ),
  (
    "arms=baseline split.class_balanced=True",
    "split.class_balanced = True has no meaning with arms = ('baseline',)",
  ),
  (
    "arms=baseline score.name=file score.path=x.csv",
    "score.path = 'x.csv' has no meaning with arms = ('baseline',)",
  ),
  (
    "score.cleanlab=True",
    "score.cleanlab = True with score.folds = None: a network gives back the labels that it has "
    "learned by heart, the wrong ones too, so that cleanlab needs networks that have not seen the "
    "example; give score.folds too, such as --config.score.folds=4, or leave score.cleanlab out",
  ),
  (
    "data.name=curve score.cleanlab=True score.folds=4",
    "has no meaning with data.name = 'curve'",
  ),
  (
    "data.labels_key=random1",
    "data.labels_key = 'random1' has no meaning with data.labels_file = None; leave it at its "
    "default, None, or give data.labels_file too",
  ),
  (
    "data.labels_file=x.npz data.wrong_label_fraction=0.1",
    "nobody could tell the mistakes of the file from those that are made on purpose; leave one",
  ),
  (
    "data.name=curve data.corrections=x.csv",
    "data.corrections = ('x.csv',) has no meaning with data.name = 'curve'",
  ),
  ("data.corrections=x.csv,x.csv", "'x.csv' occurs more than once"),
  ("batch_size=automatic", "expected an integer at least 1, at most 131072"),
  ("batch_size=auto split.policy=threshold split.threshold=0.9", "batch_size as a number"),
  ("batch_size=auto select.fraction=0.1,0.2", "how many examples A has is decided after"),
  (
    "batch_size=auto sweep.key=method.fraction sweep.values=0.1,0.2",
    "every value would have another batch size",
  ),
  (
    "batch_size=auto select.space=method.fraction=choice(0.1,0.2)",
    "the search chooses what the batch size follows from",
  ),
  (
    "batch_size=auto acquire.strategies=margin arms=baseline",
    "every number of labels would have another",
  ),
  ("batch_size=auto fit_batch=False", "fit_batch is given beside it; give one of the two"),
  ("batch_size=auto sweep.key=batch_size sweep.values=16,32", "every value would have another"),
  ("model.blocks=1,1 model.widths=16,32,64", "one width for each of the stages"),
  ("data.num_train=9", "expected at least 0.111111 with data.num_train = 9; A would be empty"),
  ("data.num_train=100 method.num_easy=100", "B would be empty"),
  ("data.name=shapes data.shapes.num_train=5", "with data.shapes.num_train = 5; A would be empty"),
]

# (what a config file returns, what the message must hold)
BAD_FILES = [
  ({"optim": {"lr": 1}}, "optim.lr: no such key; did you mean optim.learning_rate?"),
  ({"optimizer": {"learning_rate": 1}}, "optimizer: no such section; did you mean optim?"),
  ({"optim": "sgd"}, "optim = 'sgd': optim is a section, not a value"),
  ({"optim": None}, "optim = None: optim is a section, not a value"),
  ({"rounds": {"n": 3}}, "rounds: a section is given, expected an integer at least 1"),
  ({"rounds": True}, "rounds = True: expected an integer"),
  ({"rounds": "30"}, "rounds = '30': expected an integer"),
  ({"rounds": 30.0}, "rounds = 30.0: expected an integer"),
  ({"seeds": 3}, "seeds = 3: expected a tuple of integers"),
  ({"seeds": (0, True)}, "expected a tuple of integers"),
  ({"seeds": None}, "seeds = None: expected a tuple of integers"),
  ({"arms": "method"}, "one item is written ('method',)"),
  (
    {"optim": {"learning_rate": float("nan")}},
    "optim.learning_rate = nan: expected a finite number",
  ),
  ({"optim": {"learning_rate": 10**400}}, "expected a finite number"),
  ({"method": {"fraction": "0.1"}}, "method.fraction = '0.1': expected a finite number"),
  ({"data": {"path": 3}}, "data.path = 3: expected a text, or None"),
  ({"data": {"path": Path("x")}}, "expected a text, or None"),
]


@pytest.mark.parametrize(
  ("line", "part"), BAD_OVERRIDES, ids=[line[:30].replace("\0", "NUL") for line, _ in BAD_OVERRIDES]
)
def test_a_bad_override_is_refused_in_one_line_that_names_the_key(line, part):
  with pytest.raises(ConfigError) as caught:
    resolve({}, overrides_of(line))
  message = str(caught.value)
  assert part in message
  assert "\n" not in message
  assert len(message) < 500
  assert caught.value.exit_code == 2


@pytest.mark.parametrize(
  ("plain", "part"), BAD_FILES, ids=[str(plain)[:40] for plain, _ in BAD_FILES]
)
@pytest.mark.parametrize("kind", [dict, ml_collections.ConfigDict])
def test_a_bad_config_file_value_is_refused_in_one_line(plain, part, kind):
  with pytest.raises(ConfigError) as caught:
    resolve(kind(plain))
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)
