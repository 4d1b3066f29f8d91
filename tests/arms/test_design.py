"""What the plans of a run let it show: decay in time constants, and the smallest batch."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.arms import design
from sdt.engine.plan import Phase, Plan
from sdt.engine.schedule import learning_rates
from tests.support import tiny


def phase(size, *, batch=10, name="all", decay=1e-2, num_steps=None):
  steps = -(-size // batch) if num_steps is None else num_steps
  ids = np.tile(np.arange(size, dtype=np.int32), (2, 1))
  weight_decay = np.full(2, decay) if np.ndim(decay) == 0 else np.asarray(decay)
  return Phase(name, ids, steps, weight_decay=weight_decay)


def plan(*phases, arm="baseline", rounds=3):
  return Plan(arm, phases, rounds)


def config(**changes):
  base = {"batch_size": 10, "rounds": 3, "optim__milestones": (2,), "arms": ("baseline", "method")}
  return tiny.config(**(base | changes))


def constants(of, cfg):
  rates = learning_rates(cfg.optim, of.rounds, steps=of.steps_per_round)
  return design.decay_constants(of, cfg.optim, rates)


def shrunk(of, cfg):
  """Returns minus the logarithm of what is left of a weight that has no gradient, for a long time
  after the last step, by hand: momentum that still moves is let run out.
  """
  optim, rows = cfg.optim, []
  for replica in range(2):
    weight, trace = 1.0, 0.0
    for rate in learning_rates(optim, of.rounds):
      for one in of.phases:
        decays = np.broadcast_to(np.asarray(one.weight_decay)[replica], (one.num_steps,))
        for decay in decays:
          if optim.decay_form == "decoupled":
            weight -= rate * decay * weight
            continue
          times = 2.0 if optim.decay_form == "penalty" else 1.0
          trace = optim.momentum * trace + times * decay * weight
          weight -= rate * trace
    weight -= rate * trace * optim.momentum / (1 - optim.momentum)
    rows.append(-math.log(weight))
  return float(np.mean(rows))


@pytest.mark.parametrize("form", ["coupled", "decoupled", "penalty"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_time_constants_are_how_far_a_weight_without_gradient_shrinks(form, momentum):
  optim = {"decay_form": form, "momentum": momentum, "learning_rate": 1e-3, "schedule": "constant"}
  cfg = config(**{f"optim__{name}": value for name, value in optim.items()})
  scattered = np.stack([[3e-2, 1e-3, 1e-3], [1e-3, 3e-2, 1e-3]])
  of = plan(phase(20, name="A", decay=5e-2), phase(30, name="B", decay=scattered))
  assert constants(of, cfg) == pytest.approx(shrunk(of, cfg), rel=1e-2)


def test_time_constants_of_a_schedule_by_steps_take_the_rate_of_every_step():
  cfg = config(optim__clock="step", optim__schedule="cosine", optim__milestones=())
  of = plan(phase(20, name="A", decay=5e-2), phase(30, name="B", decay=0.0))
  rates = learning_rates(cfg.optim, 3, steps=5)
  by_hand = math.fsum(5e-2 * rate for row in rates for rate in row[:2]) / (1 - cfg.optim.momentum)
  assert constants(of, cfg) == pytest.approx(by_hand, rel=1e-12)


def test_an_optimiser_that_rescales_the_decay_has_no_time_constants():
  of = plan(phase(20))
  assert constants(of, config(optim__name="adam")) is None
  adamw = constants(of, config(optim__name="adamw"))
  assert adamw == constants(of, config(optim__name="sgd", optim__decay_form="decoupled"))


def test_a_frozen_body_counts_with_the_rate_of_the_head():
  of = plan(phase(20))
  whole = constants(of, config())
  assert constants(of, config(optim__body_rate_factor=0.1)) == pytest.approx(0.1 * whole)
  assert constants(of, config(optim__body_rate_factor=0.0)) == whole


@given(size=st.integers(1, 200), batch=st.integers(1, 64), extra=st.integers(-3, 7))
def test_the_smallest_batch_is_that_of_the_batches_that_a_phase_goes_through(size, batch, extra):
  steps = max(1, -(-size // batch) + extra)
  sizes, left = [], size
  for _ in range(steps):
    left = left or size
    sizes.append(min(batch, left))
    left -= sizes[-1]
  of = phase(size, batch=batch, num_steps=steps)
  assert design.smallest_batch(of, batch) == min(sizes)


@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=4), near=st.integers(1, 200))
def test_batch_sizes_that_fit_leave_no_batch_less_than_nine_tenths_full(sizes, near):
  plans = [plan(*(phase(size) for size in sizes))]
  found = design.fitting_batch_sizes(plans, near)
  assert len(found) <= 3
  for one in found:
    assert near / 2 <= one <= 2 * near
    assert all((size % one or one) >= 0.9 * one for size in sizes)
  common = math.gcd(*sizes)
  divide = [one for one in range(-(-near // 2), 2 * near + 1) if common % one == 0]
  if divide and len(found) < 3:
    assert set(divide) <= set(found)


def test_the_batch_sizes_near_128_that_fit_5000_images_with_500_easy_ones_are_named():
  plans = [plan(phase(5000)), plan(phase(500, name="A"), phase(4500, name="B"), arm="method")]
  assert design.fitting_batch_sizes(plans, 128) == [125, 100, 167]


def test_a_batch_size_that_is_to_fit_is_the_nearest_that_divides_all_parts_of_compared_arms():
  parts = (phase(5000),), (phase(500, name="A"), phase(4500, name="B"))
  plans = [plan(*parts[0]), plan(*parts[1], arm="method"), plan(phase(3750), arm="but_fold1")]
  cfg = dataclasses.replace(config(batch_size=128), fit_batch=True, arms=("baseline", "method"))
  fitted, note = design.fitted(cfg, plans)
  assert fitted == dataclasses.replace(cfg, batch_size=125, fit_batch=False)
  assert note == "batch_size=auto: 125, the nearest to 128 for the sizes of all parts"
  assert design.fitted(dataclasses.replace(cfg, batch_size=64), plans)[0].batch_size == 50


def test_where_no_batch_size_fits_the_smallest_last_batch_is_as_full_as_it_can_be():
  plans = [plan(phase(70)), plan(phase(7, name="A"), phase(63, name="B"), arm="method")]
  cfg = dataclasses.replace(config(batch_size=16), fit_batch=True)
  least = {one: min((size % one or one) / one for size in (70, 7, 63)) for one in range(8, 33)}
  assert max(least.values()) < 0.9
  fitted, note = design.fitted(cfg, plans)
  assert least[fitted.batch_size] == max(least.values())
  assert "no number from a half to twice 16 fits" in note
  assert note.endswith(f"{100 * max(least.values()):.0f} %")


def test_a_run_whose_decays_hardly_act_is_told_so_and_one_whose_decay_acts_is_not():
  baseline = plan(phase(100, decay=1e-4))
  method = plan(phase(10, name="A", decay=1e-2), phase(90, name="B", decay=1e-3), arm="method")
  content = design.described([baseline, method], config())
  most = content["arms"]["method"]["decay_constants"]
  assert most < 1
  (text,) = content["warnings"]
  assert "what weight decay does can hardly be seen in baseline, method" in text
  assert f"is {most:.2g} at most (arm method)" in text
  assert f"loses {100 * (1 - math.exp(-most)):.2g} % of its size" in text
  strong = dataclasses.replace(method, phases=(phase(10, name="A", decay=9.0), method.phases[1]))
  assert design.described([baseline, strong], config())["warnings"] == []


def test_arms_of_one_decay_or_of_none_are_not_warned_of_it_however_their_phases_are_cut():
  assert design.described([plan(phase(100))], config())["warnings"] == []
  for decay in (0.0, 1e-3):
    apart = plan(phase(10, name="A", decay=decay), phase(90, name="B", decay=decay), arm="method")
    content = design.described([plan(phase(100, decay=decay)), apart], config())
    assert content["warnings"] == []


def test_a_third_arm_with_a_strong_decay_does_not_silence_the_warning_of_two_weak_ones():
  cfg = config(own_arms=("mine = all@9.0",), arms=("baseline", "method", "mine"))
  weak = [plan(phase(100, decay=1e-4)), plan(phase(100, decay=2e-4), arm="method")]
  (text,) = design.described([*weak, plan(phase(100, decay=9.0), arm="mine")], cfg)["warnings"]
  assert "hardly be seen in baseline, method:" in text


@pytest.mark.parametrize(
  ("optim", "words"),
  [
    ({}, "rate x decay / (1 - momentum)"),
    ({"decay_form": "penalty"}, "2 x rate x decay / (1 - momentum)"),
    ({"decay_form": "decoupled"}, "rate x decay"),
    ({"name": "adamw"}, "rate x decay"),
    ({"name": "rmsprop", "decay_form": "decoupled"}, "rate x decay"),
  ],
)
def test_the_formula_that_is_told_is_that_of_the_number(optim, words):
  cfg = config(**{f"optim__{name}": value for name, value in optim.items()})
  content = design.described([plan(phase(20, decay=5e-2))], cfg)
  assert content["formula"] == words
  momentum = 1.0 - cfg.optim.momentum if "momentum" in words else 1.0
  total = sum(2 * rate * 5e-2 for rate in learning_rates(cfg.optim, 3))
  by_hand = (2.0 if words.startswith("2") else 1.0) * total / momentum
  assert content["arms"]["baseline"]["decay_constants"] == pytest.approx(by_hand, rel=1e-6)


def test_arms_whose_smallest_batches_differ_are_named_with_sizes_that_fit():
  cfg = config(batch_size=64)
  baseline = plan(phase(1000, batch=64, decay=9.0))  # 40 in the last batch
  method = plan(
    phase(100, name="A", batch=64, decay=9.0),
    phase(900, name="B", batch=64, decay=9.0),  # 4
    arm="method",
  )
  (text,) = design.described([baseline, method], cfg)["warnings"]
  assert "4 in arm method and 40 in arm baseline, at batch_size=64" in text
  assert text.endswith("batch sizes that fit all parts: 50, 100, 101")


def test_a_small_last_batch_is_named_also_where_all_arms_have_it():
  cfg = config(batch_size=64)
  one, other = plan(phase(65, batch=64, decay=9.0)), plan(phase(65, batch=64), arm="method")
  (text,) = design.described([one, other], cfg)["warnings"]
  assert "has 1 examples (arm baseline)" in text
  assert design.described([one, other], config(batch_size=65))["warnings"] == []


def test_full_batches_of_an_optimiser_that_needs_them_are_no_reason_to_warn():
  cfg = config(batch_size=1000, optim__name="lbfgs", optim__decay_form="decoupled")
  one, other = plan(phase(100, decay=99.0)), plan(phase(20, decay=99.0), arm="method")
  assert design.described([one, other], cfg)["warnings"] == []


def test_of_few_examples_the_batch_size_that_fits_is_all_of_them():
  plans = [plan(phase(20, batch=128)), plan(phase(20, batch=128), arm="method")]
  assert design.fitting_batch_sizes(plans, 128) == [20]


def test_a_baseline_that_does_not_fit_its_training_set_is_told():
  assert "right on 69 %" in (design.underfit_warning(0.69, config()) or "")
  assert design.underfit_warning(0.95, config()) is None
  assert design.underfit_warning(None, config()) is None


@pytest.mark.parametrize(
  "changes",
  [
    {"everywhere": ("mixup_alpha=1",)},
    {"model__dropout": 0.5},
    {"everywhere": ("dropout=0.2",)},
    {"augment__ops": "cutmix(1)", "model__name": "resnet8", "model__hidden_sizes": None},
  ],
)
def test_training_on_mixed_inputs_or_with_dropped_values_says_nothing_of_the_fit(changes):
  assert design.underfit_warning(0.5, config(**changes)) is None
  assert design.underfit_warning(0.5, config(everywhere=("dropout=0", "label_smoothing=0.1")))
  off = config(model__dropout=0.5, everywhere=("dropout=0",))
  assert design.underfit_warning(0.5, off)
