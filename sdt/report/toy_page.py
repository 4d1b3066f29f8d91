"""The report of the toy: reads its artifacts, makes the printed table, the figures and the page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sdt import files
from sdt.report import page, tables
from sdt.report.picture import Picture
from sdt.report.read import require_keys

_KEYS = (
  "data",
  "model",
  "seeds",
  "rounds",
  "steps_per_round",
  "selection",
  "arms",
  "contrasts",
  "checks",
)
LEVEL = 0.05
_HOLDS = {True: "holds", False: "does not hold", None: "no seed finished"}
# The three fits of the figure, as the paper letters them.
FITS = {
  "no_decay": "(a) no regulariser",
  "uniform": "(b) one decay for all",
  "differentiated": "(c) more decay on A",
}
_FORMATS = {
  "error": "{:.4f}",
  "roughness": "{:.1e}",
  "end_bias": "{:+.3f}",
  "train_error": "{:.4f}",
}
_TITLES = {
  "error": "error to the curve",
  "roughness": "roughness",
  "end_bias": "end-point bias",
  "train_error": "training error",
}


def write(workdir: Path) -> Path:
  """Writes figures/ and report.html from the artifacts of a toy; returns the report's path.

  Raises:
    DataError: an artifact is missing, damaged, or from another version.
    WorkdirError: the workdir cannot be written.
  """
  results = files.read_json(workdir / "results.json")
  require_keys(results, _KEYS, workdir / "results.json", remedy="run the same command again")
  selection = results["selection"]
  chosen = selection["arms"][selection["lambdas"].index(selection["chosen"])]
  fits = {
    arm: files.read_npz(workdir / "arms" / f"{chosen if arm == 'uniform' else arm}.npz")["grid"]
    for arm in results["arms"]
  }
  pictures = draw(results, files.read_npz(workdir / "points.npz"), fits)
  paths = {name: workdir / f"{name}.json" for name in ("config", "environment", "timing")}
  beside = {name: files.read_json(path) if path.exists() else {} for name, path in paths.items()}
  html = page.render(
    "toy.html",
    pictures=pictures,
    config=page.pairs(beside["config"].get("config", {})),
    config_hash=beside["config"].get("hash"),
    environment=page.pairs(beside["environment"]),
    timing=page.pairs(beside["timing"]),
    **_shown(results),
  )
  return page.write(workdir, pictures, html)


def draw(
  results: Mapping[str, Any],
  points: Mapping[str, Shaped[np.ndarray, "..."]],
  fits: Mapping[str, Float[np.ndarray, "R M"]],
) -> dict[str, Picture]:
  """Returns name -> picture; `fits` is arm -> its fits [R, M] on the grid of `points`."""
  from sdt.report import toy_figures  # here: the printed table needs no matplotlib
  from sdt.report.figures import render

  num_seeds, size = len(results["seeds"]), results["num_noisy"]
  named = {title: fits[arm] for arm, title in FITS.items()}
  chosen = results["selection"]["chosen"]
  return {
    "network": Picture(
      render(toy_figures.network, (1, *results["model"]["hidden_sizes"], 1)),
      "the layers of the network",
      f"The network has {len(results['model']['hidden_sizes'])} hidden layers and "
      f"{results['model']['num_params']:,} parameters. The picture shows some of the units. Each "
      "unit of a layer is connected with each unit of the next.",
      kind="wide",
    ),
    "fits": Picture(
      render(toy_figures.fits, points, named, results["seeds"]),
      "the three fits",
      f"Above: the points of seed {results['seeds'][0]}, the true curve and the fit. The {size} "
      f"points with the largest noise are A. Below: the fits of all {num_seeds} seeds as thin "
      "lines; each seed has its own points.",
      kind="wide",
    ),
    "merits": Picture(
      render(toy_figures.merits, results["arms"], results["truth"]["roughness"]),
      "error, roughness and end-point bias of every arm",
      "Each dot is a seed, the bar is the mean. Error and roughness: less is better. Dashed line: "
      f"the roughness of the true curve. A roughness below {toy_figures.FLOOR:g} is drawn there. "
      "End-point bias: nearer to zero is better; below zero, the ends of the fit are too low.",
      kind="wide",
    ),
    "choice": Picture(
      render(toy_figures.choice, results["selection"]),
      "validation error against the decay",
      "Mean error on the validation points of all seeds, with its standard error. Filled dot: the "
      f"chosen decay, {chosen:g}.",
    ),
  }


def _shown(results: Mapping[str, Any]) -> dict[str, object]:
  """Returns what the template shows of the results."""
  selection = results["selection"]
  checks = [(check_text(check), check["holds"]) for check in results["checks"]]
  return {
    "results": results,
    "title": "The toy: noisy points of y = x²",
    "page_kind": "report",
    "sentence": sentence(results),
    "failed": [text for text, holds in checks if not holds],
    "checks": [(text, _HOLDS[holds]) for text, holds in checks],
    "arms": [_arm_row(arm, entry) for arm, entry in results["arms"].items()],
    "contrasts": [_contrast_row(arm, entry) for arm, entry in results["contrasts"].items()],
    "merit_titles": {merit: _TITLES[merit] for merit in ("error", "roughness", "end_bias")},
    "asks": [
      (arm, f"{entry['asks']} ({_steps(results['steps_per_round'][arm])})")
      for arm, entry in results["arms"].items()
    ],
    "diverged": page.diverged(results["arms"]),
    "candidates": [
      (f"{decay:g}", mean_sd("error", error), decay == selection["chosen"])
      for decay, error in zip(selection["lambdas"], selection["validation_error"], strict=True)
    ],
  }


def mean_sd(measure: str, entry: Mapping[str, Any]) -> str:
  """Returns "mean ± sd" of one figure of merit."""
  if entry["mean"] is None:
    return "-"
  sd = "" if entry["sd"] is None else f" ± {_FORMATS[measure].replace('+', '').format(entry['sd'])}"
  return _FORMATS[measure].format(entry["mean"]) + sd


def check_text(check: Mapping[str, Any]) -> str:
  """Returns a check in words, with its number and its bound."""
  bound = (
    f"at least {check['at_least']:g}" if check["below"] is None else f"below {check['below']:g}"
  )
  value = "-" if check["value"] is None else f"{check['value']:.3g}"
  return f"{check['says']}: {value} (must be {bound})"


def verdict(test: Mapping[str, Any]) -> str:
  """Returns "(c)", "the other" or "not resolved": which of the two is smaller by the sign test."""
  if test["p"] is None or test["p"] >= LEVEL:
    return "not resolved"
  return "(c)" if test["smaller"] > test["larger"] else "the other"


def sentence(results: Mapping[str, Any]) -> str:
  """Returns the result of (c) against (b), and whether the checks of the toy hold."""
  test, chosen = results["contrasts"]["uniform"]["error"], results["selection"]["chosen"]
  parts = []
  if test["mean"] is not None:
    says = {"(c)": "(c) is closer", "the other": "(b) is closer"}.get(verdict(test), "not resolved")
    parts.append(
      f"Error to the true curve, (c) minus (b): {test['mean']:+.4f}; (c) is closer in "
      f"{test['smaller']} of {test['n']} seeds, sign test "
      f"p = {_p(test['p'])}: {says}."
    )
  failed = [check["name"] for check in results["checks"] if not check["holds"]]
  parts.append(
    f"These checks of the toy do not hold: {', '.join(failed)}."
    if failed
    else "All checks of the toy hold: (a) overfits."
  )
  if results["selection"]["at_edge"]:
    parts.append(
      f"The chosen decay, {chosen:g}, is at an edge of the grid. A better one may lie beyond it."
    )
  return " ".join(parts)


def table_text(results: Mapping[str, Any]) -> str:
  """Returns what a toy prints: a line per arm, the checks, the sentence."""
  head = ["mean over seeds", "decay", *_TITLES.values(), "(c) closer", "p"]
  lines = [head]
  for arm, entry in results["arms"].items():
    test = results["contrasts"].get(arm, {}).get("error")
    cells = [
      _FORMATS[measure].format(entry[measure]["mean"]) if entry[measure]["n"] else "-"
      for measure in _TITLES
    ]
    lines.append(
      [
        arm,
        _decay(entry),
        *cells,
        f"{test['smaller']}/{test['n']}" if test else "",
        _p(test["p"]) if test else "",
      ]
    )
  checks = [
    f"{'holds' if check['holds'] else 'DOES NOT HOLD'}: {check_text(check)}"
    for check in results["checks"]
  ]
  return "\n".join(
    [tables.block(list(zip(*lines, strict=True))), "", *checks, "", sentence(results)]
  )


def _decay(entry: Mapping[str, Any]) -> str:
  values = [f"{value:.3g}" for value in entry["decay"].values()]
  return (
    values[0]
    if len(set(values)) == 1
    else " + ".join(f"{phase} {value}" for phase, value in zip(entry["decay"], values, strict=True))
  )


def _steps(phases: Mapping[str, int]) -> str:
  return ", ".join(f"{phase} {steps}" for phase, steps in phases.items())


def _p(value: float | None) -> str:
  return "-" if value is None else f"{value:.2g}"


def _arm_row(arm: str, entry: Mapping[str, Any]) -> dict[str, Any]:
  return {
    "name": arm,
    "decay": _decay(entry),
    "merits": [mean_sd(measure, entry[measure]) for measure in _TITLES],
  }


def _contrast_row(arm: str, entry: Mapping[str, Any]) -> dict[str, Any]:
  cells = []
  for merit, test in entry.items():
    mean = (
      "-"
      if test["mean"] is None
      else {"roughness": "{:+.1e}"}.get(merit, "{:+.4f}").format(test["mean"])
    )
    wins = f"{test['smaller']} of {test['smaller'] + test['larger']}" + (
      f", {test['equal']} equal" if test["equal"] else ""
    )
    cells.append({"mean": mean, "wins": wins, "p": _p(test["p"])})
  return {"name": arm, "merits": cells, "closer": verdict(entry["error"])}
