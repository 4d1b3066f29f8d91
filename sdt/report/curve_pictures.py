"""The curves that the metrics of a run allow, each with what is said below it."""

import math
from collections.abc import Mapping, Sequence

from sdt.report import curve_figures, figures, norm_figures
from sdt.report.curve_figures import Panel
from sdt.report.picture import Picture
from sdt.report.read import NORMS, Artifacts, Curve, curves, diverged, learning_rate_turns
from sdt.report.wording import left_out, sentences

# Where the learning rate does not turn, the enlarged test curve begins at this share of the rounds.
_ZOOM_FROM = 0.5
# Measure -> title, and the caption of its curve.
MEASURES = {
  "test_accuracy": (
    "Test accuracy",
    "Share of the test set that is correctly classified at the end of a round{after}.",
  ),
  "test_loss": (
    "Test loss",
    "Mean cross-entropy on the test set at the end of a round{after}. Lower is better.",
  ),
  "train_accuracy": (
    "Training accuracy (in training mode)",
    "Share of the examples of a phase that are correctly classified while the network trains on "
    "them, with augmentation{phases}.",
  ),
  "train_loss": (
    "Training loss (in training mode)",
    "Mean cross-entropy of the examples of a phase while the network trains on them, without the "
    "weight decay{phases}.",
  ),
}
_NORM_TEXTS = {
  "weight_norm": (
    "Weight norm",
    "Norm of all kernels together at the end of a phase{phases}. The decay makes it smaller, the "
    "steps of the gradient may make it larger: what is shown is both together.",
  ),
  "effective_rate": (
    "Effective learning rate",
    "Learning rate divided by the squared weight norm{phases}. With BatchNorm, the scale of the "
    "weights does not change the output, so this is the rate at which the direction of the weights "
    "changes. Decay changes this rate through the norm.",
  ),
  "gradient_norm": (
    "Gradient norm",
    "Norm of the gradient of the loss and of the regularisers of the phase, without the decay. "
    "Mean over the steps{phases}.",
  ),
  "update_norm": (
    "Update norm",
    "Norm of the change of all parameters in one step. Mean over the steps of the phase{phases}.",
  ),
}


def accuracies_and_losses(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the curves of accuracy and loss, and the later rounds of the test accuracy enlarged."""
  arms = list(artifacts.results["arms"])
  all_curves, turns = curves(artifacts.metrics, arms), learning_rate_turns(artifacts.metrics)
  late = _late_accuracy(artifacts, all_curves, turns)
  shown = {measure: figures.main_arms(arms) for measure in MEASURES}
  return late | _over_the_rounds(artifacts, all_curves, turns, texts=MEASURES, shown=shown)


def norms(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the curves of the norms and of the effective rate, and the norm of each layer."""
  arms = list(artifacts.results["arms"])
  rows = norm_figures.with_effective_rate(artifacts.metrics)
  all_curves, turns = curves(rows, arms, NORMS), learning_rate_turns(rows)
  shown = {measure: figures.main_arms(arms) for measure in NORMS} | {"weight_norm": arms}
  pictures = _over_the_rounds(artifacts, all_curves, turns, texts=_NORM_TEXTS, shown=shown)
  return pictures | _layer_norms(artifacts, all_curves)


def _late_accuracy(
  artifacts: Artifacts, all_curves: Sequence[Curve], turns: Mapping[int, str]
) -> dict[str, Picture]:
  last = max((int(one.rounds[-1]) for one in all_curves), default=0)
  turn = min(turns, default=last)
  first = turn if turn < last else max(1, math.ceil(last * _ZOOM_FROM))
  if first < 2 or curve_figures.num_measured(all_curves, "test_accuracy", first) < 2:
    return {}
  arms = list(artifacts.results["arms"])
  title = f"Test accuracy from round {first} on, every arm"
  panel = Panel(title, turns, first, size=figures.WIDE)
  png = figures.render(
    curve_figures.curve, all_curves, "test_accuracy", arms, shown=arms, panel=panel
  )
  caption = sentences(
    "The later rounds of the curve below, enlarged. The verdict uses the last round only.",
    left_out(artifacts),
  )
  alt = "test accuracy of every arm over the later rounds"
  return {"test_accuracy_late": Picture(png, alt, caption, kind="wide")}


def _over_the_rounds(
  artifacts: Artifacts,
  all_curves: Sequence[Curve],
  turns: Mapping[int, str],
  texts: Mapping[str, tuple[str, str]],
  shown: Mapping[str, Sequence[str]],
) -> dict[str, Picture]:
  """Returns a curve for each measure of `texts` that was measured, with its title and caption."""
  arms, pictures = list(artifacts.results["arms"]), {}
  main = figures.main_arms(arms)
  words = _phase_words([one for one in all_curves if one.arm in main])
  for measure, (title, caption) in texts.items():
    if curve_figures.num_measured(all_curves, measure):
      png = figures.render(
        curve_figures.curve,
        all_curves,
        measure,
        arms,
        shown=shown[measure],
        panel=Panel(title, turns),
      )
      text = sentences(caption.format(**words), left_out(artifacts))
      pictures[measure] = Picture(png, f"{title.lower()} over the rounds", text)
  return pictures


def _phase_words(shown: Sequence[Curve]) -> dict[str, str]:
  """Returns what captions say of rounds that have several phases."""
  first = list(dict.fromkeys(one.phase for one in shown if not one.last_phase))
  last = list(
    dict.fromkeys(
      one.phase
      for one in shown
      if one.last_phase and one.arm in {other.arm for other in shown if not other.last_phase}
    )
  )
  if not first:
    return {"after": "", "phases": ""}
  return {
    "after": f" (where a round has several phases: after {' or '.join(last)})",
    "phases": (
      f" (thick line: phase {' or '.join(last)}, the last of a round; dotted line: phase "
      f"{' or '.join(first)})"
    ),
  }


def _layer_norms(artifacts: Artifacts, all_curves: Sequence[Curve]) -> dict[str, Picture]:
  arms = list(artifacts.results["arms"])
  by_phase = norm_figures.last_layer_norms(artifacts.metrics, diverged(artifacts.metrics))
  ends = {one.arm: (one.arm, one.phase) for one in all_curves if one.last_phase}
  values = {
    arm: by_phase[ends[arm]]
    for arm in figures.main_arms(arms)
    if arm in ends and ends[arm] in by_phase
  }
  layers = artifacts.results["model"].get("layers")
  if not layers or not values or any(one.shape[1] != len(layers) for one in values.values()):
    return {}
  png = figures.render(norm_figures.layer_norms, values, arms, layers)
  caption = (
    "The decay has changed most the layers in which the arms differ most. Norms of layers of "
    "different sizes cannot be compared."
  )
  alt = "weight norm of each layer, every arm"
  return {"layer_norms": Picture(png, alt, caption, kind="wide")}
