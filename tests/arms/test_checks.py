"""Which arms a config may name and what they need: refusals, and notes for the user."""

import pytest

from sdt.arms import checks
from sdt.arms.catalogue import ARM_NAMES, arm_specs
from sdt.arms.checks import check_arms, check_overrides, idle_of
from sdt.errors import ConfigError
from tests.support import tiny


def test_an_unknown_arm_is_refused_with_the_nearest_and_the_list():
  with pytest.raises(
    ConfigError,
    match=r"'uniform_men' is not an arm; did you mean 'uniform_mean'\? \(arms: baseline, method",
  ):
    check_arms(tiny.config(arms=("baseline", "uniform_men")))
  with pytest.raises(
    ConfigError,
    match=(
      r"'xyz' is not an arm \(arms: baseline, .*; own_arms defines more, such as "
      r"--config.own_arms='gentle = "
    ),
  ):
    check_arms(tiny.config(arms=("baseline", "xyz")))
  with pytest.raises(ConfigError, match="'baseline' is missing"):
    check_arms(tiny.config(arms=("method",)))
  check_arms(tiny.config(arms=ARM_NAMES, method__lambda_tuned=3e-4))


@pytest.mark.parametrize(
  ("arm", "changes", "message"),
  [
    (
      "dropout_easy",
      {"model__name": "alexnet", "model__hidden_sizes": None, "regularise__dropout": 0.5},
      "'dropout_easy' asks for dropout, and dropout = 0.5 changes nothing",
    ),
    (
      "depth_easy",
      {},
      (
        "stochastic_depth, which model.name='mlp' has not; networks that have it: "
        "cait, .*paper_preresnet110, .*resnet8, .*wrn, "
      ),
    ),
    (
      "augment_easy",
      {},
      "augment_strength, and nothing is augmented; give augment.ops or augment.flip",
    ),
    (
      "depth_easy",
      {"model__name": "resnet8", "model__hidden_sizes": None, "optim__body_rate_factor": 0.0},
      "stochastic_depth, which a frozen body has not; choose optim.body_rate_factor above 0",
    ),
    (
      "method",
      {"regularise__loss_floor": 0.1},
      r"regularise.loss_floor = 0.1: no arm of the run reads it; name one in arms .*\[loss_floor\]",
    ),
    (
      "floor_easy",
      {"regularise__loss_weight": 0.1},
      "regularise.loss_weight = 0.1: no arm of the run reads it",
    ),
    (
      "smooth_easy",
      {"regularise__label_smoothing": 0.0},
      "'smooth_easy' asks for label_smoothing, and label_smoothing = 0.0 changes nothing",
    ),
    (
      "mine",
      {"own_arms": ("mine = A@0[loss_weight=1] + B@0",)},
      "'mine' asks for loss_weight, and loss_weight = 1.0 changes nothing",
    ),
    (
      "mine",
      {"own_arms": ("mine = A@0[label_smoothing, loss_weight=0] + B@0",)},
      (
        "asks for label_smoothing, and with loss_weight = 0 beside it no loss moves the weights; "
        "leave one of the two out"
      ),
    ),
    (
      "mine",
      {
        "model__name": "wrn28_10",
        "model__hidden_sizes": None,
        "own_arms": ("mine = A@0[dropout=0] + B@0",),
      },
      "'mine' asks for dropout, and dropout = 0.0 changes nothing",
    ),
    (
      "dropout_easy",
      {"model__name": "wrn28_10", "model__hidden_sizes": None, "model__dropout": 0.3},
      "'dropout_easy' asks for dropout, and dropout = 0.3 changes nothing",
    ),
  ],
)
def test_a_regulariser_that_would_do_nothing_is_refused(arm, changes, message):
  config = tiny.config(arms=("baseline", arm), **changes)
  with pytest.raises(ConfigError, match=message):
    check_overrides(config)


@pytest.mark.parametrize(
  ("texts", "message"),
  [
    (("drop_out=0.3",), "everywhere: 'drop_out' is not a regulariser; did you mean 'dropout'?"),
    (("label_smoothing",), "everywhere: 'label_smoothing' has no number; expected REGULARISER="),
    (("label_smoothing=1",), "everywhere: label_smoothing = 1.0: expected .* below 1"),
    (("label_smoothing=x",), "everywhere: label_smoothing = 'x': expected"),
    (("loss_floor=1", "loss_floor=2"), "everywhere: loss_floor is named more than once"),
    (
      ("loss_floor=0",),
      "everywhere asks for loss_floor, and loss_floor = 0.0 changes nothing; .*leave it out$",
    ),
    (
      ("stochastic_depth=0.3",),
      "everywhere asks for stochastic_depth, which model.name='mlp' has not",
    ),
    (("loss_floor=1", "loss_weight=0"), "everywhere asks for loss_floor, and with loss_weight = 0"),
  ],
)
def test_everywhere_is_checked_with_the_config(texts, message):
  with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
    check_overrides(tiny.config(everywhere=texts))


def test_beside_everywhere_a_phase_may_turn_a_regulariser_off_and_not_repeat_it():
  off = {
    "own_arms": ("mine = A@0[loss_floor=0] + B@0[loss_weight=0]",),
    "arms": ("baseline", "mine"),
  }
  check_overrides(tiny.config(**off, everywhere=("loss_floor=0.1",)))
  with pytest.raises(ConfigError, match="'floor_easy' asks for loss_floor, and loss_floor = "):
    check_overrides(tiny.config(arms=("baseline", "floor_easy"), everywhere=("loss_floor=0.05",)))


@pytest.mark.parametrize(
  "text", ["hardest_A@lambda_A + hardest_B@lambda_B", "A@lambda_A + hardest_B@0"]
)
def test_the_hardest_are_refused_in_any_arm_where_they_are_the_method_s_own(text):
  changes = {"arms": ("baseline", "method", "mine"), "own_arms": (f"mine = {text}",)}
  check_arms(tiny.config(**changes))
  with pytest.raises(
    ConfigError,
    match=(
      r"'mine' has the phase hardest_[AB], which is the method's own [AB] with split.policy = "
      r"'bottom'"
    ),
  ):
    check_arms(tiny.config(**changes, split__policy="bottom"))
  check_arms(tiny.config(**changes | {"arms": ("baseline", "method")}, split__policy="bottom"))


def test_a_key_that_is_given_and_that_no_arm_reads_is_told_though_it_is_at_its_default():
  (told,) = idle_of(tiny.config(), ["rounds", "regularise.dropout"])
  assert told.startswith("regularise.dropout = 0.3: no arm of the run reads it; name one in arms")
  own = "mine = A@baseline[dropout] + B@baseline"
  read = tiny.config(own_arms=(own,), arms=("baseline", "mine"))
  assert idle_of(read, ["regularise.dropout"]) == []


def test_a_regulariser_that_the_run_can_have_is_accepted():
  check_overrides(tiny.config(arms=("baseline", "decay_steps_only")))
  # Less than the network has elsewhere.
  off = {"own_arms": ("mine = A@0[dropout=0] + B@0",), "model__dropout": 0.3}
  check_overrides(
    tiny.config(arms=("baseline", "mine"), model__name="wrn28_10", model__hidden_sizes=None, **off)
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "augment_easy"), augment__flip=True, regularise__augment_strength=0.1
    )
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "depth_easy"), model__name="paper_preresnet56", model__hidden_sizes=None
    )
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "dropout_easy", "depth_easy"), model__name="wrn", model__hidden_sizes=None
    )
  )


def test_an_own_arm_names_its_control():
  lines = ("mine = A@0 + B@0 against alternate_only", "free = A@0 + B@0")
  specs = arm_specs(tiny.config(own_arms=lines))
  assert specs["mine"].control == specs["mixup_easy"].control == "alternate_only"
  assert specs["free"].control is specs["method"].control is None
  assert specs["mine"].phases == specs["free"].phases


CONTROLLED = (
  "mine = A@0 + B@0 against alternate_only",
  "vain = A@0 against vain",
  "one = A@0 against other",
  "other = A@0 against one",
  "it = A@0 against method",
  "low = A@0 against less_data",
  "typo = A@0 against alternate_onyl",
)
REMEDY = r"take another control \(baseline, uniform_mean\)"


@pytest.mark.parametrize(
  ("arms", "message"),
  [
    (
      ("mine",),
      "'mine' against 'alternate_only': a control must be trained too; add 'alternate_only' to "
      f"arms, or {REMEDY}",
    ),
    (
      ("vain",),
      f"'vain' against 'vain': an arm is no control of itself; leave 'against' out, or {REMEDY}",
    ),
    (("one",), "'one' and 'other' are each against the other, which is one difference"),
    (
      ("it", "method"),
      "'it' against 'method': 'method' minus 'it' is in the results anyway; leave 'against' out, "
      f"or {REMEDY}",
    ),
    (
      ("low", "less_data"),
      f"'low' against 'less_data': 'less_data' is the positive control, .* or {REMEDY}",
    ),
    (
      ("typo",),
      "own_arms: 'typo' against 'alternate_onyl': 'alternate_onyl' is not an arm; did you mean "
      "'alternate_only'",
    ),
  ],
)
def test_the_control_of_an_own_arm_must_be_another_arm_of_the_run(arms, message):
  with pytest.raises(ConfigError, match=message):
    check_arms(tiny.config(own_arms=CONTROLLED, arms=("baseline", "uniform_mean", *arms)))


def test_a_control_that_is_trained_is_accepted_and_so_is_one_of_an_arm_that_is_not():
  check_arms(tiny.config(own_arms=CONTROLLED, arms=("baseline", "alternate_only", "mine")))
  check_arms(tiny.config(own_arms=CONTROLLED))  # neither is trained


def test_an_arm_that_is_defined_and_not_trained_and_one_without_its_control_are_told():
  lines = ("mine = A@0 + B@0 against baseline", "idle = A@0 + B@0", "vain = A@0")
  of = tiny.config(own_arms=lines, arms=("baseline", "mine", "mixup_easy", "smooth_easy"))
  assert checks.notes(of) == [
    "own_arms defines idle, vain, which arms does not name: not trained",
    "mixup_easy, smooth_easy: no difference from the control alternate_only, which is not in arms",
  ]
  assert checks.notes(tiny.config(arms=("baseline", "alternate_only", "smooth_easy"))) == []


def test_a_baseline_alone_says_why_it_leaves_no_scores():
  (note,) = checks.notes(tiny.config(arms=("baseline",)))
  assert "there is no scores.csv" in note
  assert "--config.arms=baseline,method" in note
  assert checks.notes(tiny.config(arms=("baseline", "method"))) == []


@pytest.mark.parametrize(
  ("ops", "phase", "message"),
  [
    ("flip rotate(15)", "cutout=8", r"cutout, which augment.ops has not; write cutout\(0\) there"),
    (None, "smote=1", r"smote, which augment.ops has not; write smote\(0\) first there, off"),
    (None, "crop=1", r"crop, which augment.ops has not; write crop\(pixels\) there too"),
    (None, "rotate=8", r"rotate, which augment.ops has not; write rotate\(0\) there"),
    ("rotate(15)", "rotate", "rotate = nothing: expected a number at least 0, at most 180"),
    ("rotate(15)", "rotate=200", "rotate = 200: expected a number at least 0, at most 180"),
    ("rotate(15)", "rotate=15", "rotate = 15.0 changes nothing"),
    ("crop(4)", "crop=6", "crop = 6 is more than the crop.4. of augment.ops"),
    ("crop(4)", "crop=2.5", "crop = 2.5: expected a whole number"),
    ("cutmix(1)", "mixup_alpha=0.2", "augment.ops mixes by cutmix already"),
    ("mixup(0.2)", "mixup_alpha=0.2", "mixup_alpha = 0.2 changes nothing"),
    ("rotate(15)", "rotat=3", "'rotat' is not a regulariser; did you mean 'rotate'"),
  ],
)
def test_a_strength_that_no_phase_can_have_is_refused(ops, phase, message):
  with pytest.raises(ConfigError, match=message):
    check_overrides(
      tiny.config(
        arms=("baseline", "mine"), own_arms=(f"mine = A@0[{phase}] + B@0",), augment__ops=ops
      )
    )


def test_a_phase_may_have_another_strength_or_none():
  for phase in ("rotate=30", "rotate=0", "crop=0", "mixup_alpha=1", "augment_strength=0.5"):
    check_overrides(
      tiny.config(
        arms=("baseline", "mine"),
        own_arms=(f"mine = A@0[{phase}] + B@0",),
        augment__ops="crop(2) rotate(15) mixup(0.2)",
      )
    )


def smoting(**changes):
  return tiny.config(augment__ops="smote(1, 3)", **changes)


def test_smote_is_refused_where_a_network_is_to_go_without_examples():
  with pytest.raises(ConfigError, match=r"score.folds=2 with smote .* it is to score unseen"):
    check_overrides(smoting(score__folds=2, arms=("baseline", "method")))
  for subset in ("half", "kept", "clean", "under_all"):
    own = {"own_arms": (f"mine = {subset}@0",), "arms": ("baseline", "mine")}
    with pytest.raises(ConfigError, match=rf"'mine' trains on {subset} with smote, whose neigh"):
      check_overrides(smoting(**own))
    off = {"own_arms": (f"mine = {subset}@0[smote=0]",), "arms": ("baseline", "mine")}
    check_overrides(smoting(**off))
  check_overrides(smoting(arms=("baseline", "method")))
