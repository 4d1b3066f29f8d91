"""What `monitor` has measured: the loss of single steps, and units by layer."""

from typing import Any

from sdt.report import figures, monitor_figures
from sdt.report.picture import Picture
from sdt.report.read import Artifacts
from sdt.report.wording import sentences


def pictures(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns the figures of what was monitored; {} where nothing was."""
  arms, found = list(artifacts.results["arms"]), {}
  main = figures.main_arms(arms)
  kept = monitor_figures.step_losses(artifacts.metrics)
  if shown := {arm: kept[arm] for arm in main if arm in kept}:
    png = figures.render(monitor_figures.losses_of_steps, shown, arms)
    caption = sentences(
      "Mean loss of the batch of each step that is kept, without regularisers, of the first seed.",
      "The line is a moving average over 2 % of the points.",
    )
    found["step_losses"] = Picture(png, "loss of single steps over the rounds", caption)
  looked_at = _units(artifacts)
  if shown_units := {arm: looked_at[arm] for arm in main if arm in looked_at}:
    png = figures.render(monitor_figures.activation_spread, shown_units, arms)
    caption = sentences(
      "Of one drawn batch of training examples, without augmentation, in evaluation mode, of the "
      "first seed.",
      "A spread that falls from layer to layer vanishes, one that rises explodes.",
    )
    found["activation_spread"] = Picture(
      png, "standard deviation of the activations of each layer", caption, kind="wide"
    )
  return found


def unit_rows(artifacts: Artifacts) -> list[tuple[str, str, str, list[str]]]:
  """Returns (arm, when, layer, cells) of every layer of the arms that figures show."""
  shown = figures.main_arms(list(artifacts.results["arms"]))
  return [
    (arm, when, layer["layer"], _cells(layer))
    for arm, times in _units(artifacts).items()
    if arm in shown
    for when, layers in times.items()
    for layer in layers
  ]


def _cells(layer: dict[str, Any]) -> list[str]:
  shares = [
    "-" if layer[name] is None else f"{100 * layer[name]:.1f}" for name in ("dead", "saturated")
  ]
  return [*shares, f"{layer['mean']:.3g}", f"{layer['sd']:.3g}"]


def _units(artifacts: Artifacts) -> monitor_figures.Units:
  stops = artifacts.results.get("early_stopping", {}).get("arms", {})
  first = {arm: next(iter(one["best_round"].values()), None) for arm, one in stops.items()}
  ends = {arm: number for arm, number in first.items() if number is not None}
  return monitor_figures.units(artifacts.metrics, ends)
