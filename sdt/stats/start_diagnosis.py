"""What is wrong before the first step, in words: gradient, loss, inputs, labels, activations.

Rules of thumb, each with its number here and in docs/doctor.md. Nothing is measured here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sdt.stats.chance import chance
from sdt.stats.finding import Finding, fault, note, ok
from sdt.stats.neighbours import Agreement

_GRADIENT_ERROR = 1e-4  # relative; a kink along one direction gives more, so the median counts
_LESS, _MORE, _MUCH_MORE = 0.05, 1.0, 3.0  # share of log K, nats, factor of log K
_FAR_MEAN, _SMALL_SD, _LARGE_SD = 3.0, 0.1, 5.0
_OFF_MEAN, _LOW_SD, _HIGH_SD = 0.25, 0.5, 2.0  # the mean in standard deviations
_MOST_DEAD, _MOST_SATURATED = 0.5, 0.5
_SPREAD = 100.0  # factor between the first and the last layer
_RENAMED = 0.75  # share of the agreement in training that new names must bring back
_FEW_NAMES = 3
_BY_ACTIVATION = (
  "choose model.initialisation by the activation: he_fan_in for relu, xavier_glorot for tanh"
)


def of_gradient(errors: Sequence[float]) -> list[Finding]:
  """Returns what relative errors of slopes along unit directions mean."""
  middle, worst = float(np.median(errors)), max(errors)
  text = (
    f"along {len(errors)} directions of length 1 the gradient is within {middle:.1e} (median; "
    f"worst {worst:.1e}) of finite differences"
  )
  if middle > _GRADIENT_ERROR or not math.isfinite(middle):
    return [
      fault(
        "gradient_wrong",
        f"the gradient is wrong: {text}",
        "look for a layer with a backward pass of its own, or for a value that is not "
        "differentiable",
      )
    ]
  return [ok("gradient", text)]


def of_initial_loss(loss: float, num_classes: int, *, is_drawn: bool = True) -> list[Finding]:
  """Returns what the mean loss before the first step means, beside log K.

  Args:
    loss: with the statistics of the batch, nats.
    num_classes: K.
    is_drawn: whether the network starts from drawn weights: others may know something.
  """
  expected = math.log(num_classes)
  text = f"the loss is {loss:.3g}, and log {num_classes} = {expected:.3g}"
  if not is_drawn:
    return [ok("initial_loss", f"{text}; the weights come from a file, so it may differ")]
  if not math.isfinite(loss) or loss > _MUCH_MORE * expected + _MORE:
    return [
      fault(
        "initial_loss_high",
        f"{text}: the network is sure of wrong classes before it has learnt anything",
        "normalise the inputs, or draw smaller weights (model.initialisation)",
      )
    ]
  if loss > expected + _MORE:
    return [
      note(
        "initial_loss_above",
        f"{text}: the logits are large before the first step",
        "draw smaller weights for the head, or normalise the inputs",
      )
    ]
  if loss < (1 - _LESS) * expected:
    return [
      note(
        "initial_loss_below",
        f"{text}: better than chance before the first step",
        "look for labels that are hidden in the inputs, or for a wrong loss",
      )
    ]
  return [ok("initial_loss", f"{text}: as of a network that knows nothing")]


def of_inputs(mean: Float[np.ndarray, "C"], sd: Float[np.ndarray, "C"]) -> list[Finding]:
  """Returns what the mean and the spread of each channel mean, as the network sees them."""
  channel = int(np.argmax(np.maximum(np.abs(mean), np.abs(np.log(np.maximum(sd, 1e-12))))))
  at, spread = float(mean[channel]), float(sd[channel])
  which = f"the inputs (channel {channel + 1})" if len(mean) > 1 else "the inputs"
  text = f"{which} have mean {at:.3g} and standard deviation {spread:.3g}"
  advice = "normalise them: data.normalise=channel"
  if abs(at) > _FAR_MEAN or not _SMALL_SD <= spread <= _LARGE_SD:
    return [
      fault("unnormalised", f"unnormalised inputs: {text}", advice, data__normalise="channel")
    ]
  if abs(at) > _OFF_MEAN * max(spread, 1e-12) or not _LOW_SD <= spread <= _HIGH_SD:
    return [note("unnormalised", f"{text}, not near 0 and 1", advice, data__normalise="channel")]
  return [ok("inputs", f"{text}: near 0 and 1")]


def of_labels(train: Agreement, test: Agreement, names: Sequence[str]) -> list[Finding]:
  """Returns what the labels of nearest neighbours say, within the training set and of the test set.

  Args:
    train: of some training examples, by others.
    test: of some test examples, by training examples.
    names: of the classes.
  """
  known = chance(train.of_labels)
  if known is None:
    return []
  reached = f"{train.accuracy:.0%} of {train.num} training examples, chance {known.accuracy:.0%}"
  if train.accuracy <= known.lucky:
    return [
      note(
        "labels_unrelated",
        f"the nearest other example has the same label for {reached}: the labels may have nothing "
        "to do with the inputs",
        "look at some images with their labels; if they fit, the classes are only hard",
      )
    ]
  of_test = chance(test.of_labels)
  if of_test is not None and of_test.rules_out(test.accuracy, train.accuracy):
    return [_of_other_labels(train, test, names)]
  return [ok("labels", f"the nearest training example has the same label for {reached}")]


def _of_other_labels(train: Agreement, test: Agreement, names: Sequence[str]) -> Finding:
  """Returns the fault of a test set whose labels are not those of the training set."""
  text = (
    f"the test labels are not those of the training set: the nearest training example has the same "
    f"label for {train.accuracy:.0%} of the training and {test.accuracy:.0%} of the test examples"
  )
  renamed = test.renamed()
  moved = (renamed - np.arange(len(renamed))) % len(renamed)
  if test.accuracy_renamed() < _RENAMED * train.accuracy:
    return fault("test_labels", text, "look at test images with their labels: are they shuffled?")
  if len(set(moved.tolist())) == 1:
    by = int(moved[0]) if moved[0] <= len(renamed) // 2 else int(moved[0]) - len(renamed)
    one = "off by one" if abs(by) == 1 else f"off by {abs(by)}"
    return fault(
      "labels_off_by_one" if abs(by) == 1 else "labels_shifted",
      f"{text}; they are {one}: the class that training calls {names[0]} is called "
      f"{names[int(renamed[0])]} in the test set, and so on",
      "number the classes of both sets from the same start",
    )
  changed = [index for index in range(len(renamed)) if renamed[index] != index]
  some = ", ".join(f"{names[i]} is {names[int(renamed[i])]}" for i in changed[:_FEW_NAMES])
  some += ", ..." * (len(changed) > _FEW_NAMES)
  return fault(
    "labels_renamed",
    f"{text}; the classes are called otherwise there ({some})",
    "use the same order of classes in both sets",
  )


def of_weights(constant: Sequence[str], num_kernels: int) -> list[Finding]:
  """Returns what kernels mean whose weights are all equal; `constant` names them."""
  if not num_kernels or 2 * len(constant) < num_kernels:
    return []
  some = ", ".join(constant[:_FEW_NAMES]) + ", ..." * (len(constant) > _FEW_NAMES)
  return [
    fault(
      "constant_weights",
      f"{len(constant)} of {num_kernels} kernels hold one number, such as zero weights ({some}): "
      "all units of a layer stay alike, whatever is learnt",
      "draw them: leave model.initialisation out, or name a distribution",
    )
  ]


def of_units(layers: Sequence[Mapping[str, Any]], activation: str) -> list[Finding]:
  """Returns what the activations of the layers mean before the first step.

  Args:
    layers: "layer", "dead", "saturated" and "sd" of each, in the order of the forward pass.
    activation: the name of the function.
  """
  if not layers:
    return []
  lost = [one["layer"] for one in layers if not math.isfinite(one["sd"])]
  if lost:
    return [
      fault(
        "exploding",
        f"the activations of {len(lost)} of {len(layers)} layers are not finite, the first is "
        f"{lost[0]}: they explode from layer to layer",
        f"{_BY_ACTIVATION}; look for inputs that are not normalised",
      )
    ]
  dead = [one for one in layers if one["dead"] > _MOST_DEAD]
  if dead:
    most = max(dead, key=lambda one: one["dead"])
    text = (
      f"{most['dead']:.0%} of the units of layer {most['layer']} are dead ({activation}): they "
      "give the same for every example"
    )
    advice = "model.bias_start=0.01, leaky_relu as model.activation, or a smaller learning rate"
    make = fault if most["dead"] >= 1.0 else note
    return [make("dead_units", text, advice)]
  saturated = [one for one in layers if one["saturated"] > _MOST_SATURATED]
  if saturated:
    most = max(saturated, key=lambda one: one["saturated"])
    return [
      note(
        "saturated",
        f"{most['saturated']:.0%} of the outputs of layer {most['layer']} are at a limit of "
        f"{activation}, where the gradient vanishes",
        "draw smaller weights: model.initialisation=xavier_glorot",
      )
    ]
  return _of_spread([float(one["sd"]) for one in layers], activation)


def _of_spread(spread: Sequence[float], activation: str) -> list[Finding]:
  first, last = spread[0], spread[-1]
  layers = f"{len(spread)} {activation} layer{'s' * (len(spread) != 1)}"
  text = f"the spread of the activations goes from {first:.2g} to {last:.2g} over {layers}"
  if last * _SPREAD < first:
    return [note("vanishing", f"{text}: activations vanish from layer to layer", _BY_ACTIVATION)]
  if last > _SPREAD * first:
    return [note("exploding", f"{text}: activations explode from layer to layer", _BY_ACTIVATION)]
  return [ok("units", f"{text}; no layer is dead")]
