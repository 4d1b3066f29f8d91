"""Tables of results.json: rows of text for the HTML, and the plain table that a run prints."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sdt.report import answer_table, imbalance_section
from sdt.report.wording import of_unlearned, percent
from sdt.stats.look_record import differences_of
from sdt.stats.paired import MORE_SEEDS

MAX_WIDTH = 100
MAX_SEEDS_PER_BLOCK = 5
MAX_WORST = 3
MIN_FOR_SD = 3
_OF_METHOD = (
  "method-arm, in points: the method minus the arm of that line; above 0 the method is more "
  "accurate."
)
_OF_OWN = "points: the first arm minus the second, its control; above 0 the first is more accurate."
# Sign in the plain table, key of a contrast, and what is said where it is false.
_MARKS = (
  ("*", "equal_work", "not equal work"),
  ("^", "in_family", "outside the family"),
  ("~", "planned", "exploratory"),
)


def p_text(value: float | None) -> str:
  """Returns a p value with three decimals; "-" for None."""
  if value is None:
    return "-"
  return "<0.001" if value < 0.001 else f"{value:.3f}"


def mean_sd(entry: Mapping[str, Any], signed: bool = False) -> str:
  """Returns "mean ± sd" in percent; without the sd of fewer than three values."""
  has_sd = entry["sd"] is not None and entry["n"] >= MIN_FOR_SD
  return percent(entry["mean"], signed) + (f" \u00b1 {percent(entry['sd'])}" if has_sd else "")


def by_seed(values: Mapping[Any, float | None]) -> dict[int, float | None]:
  """Returns the mapping with integers as seeds; the keys of JSON are text."""
  return {int(seed): value for seed, value in values.items()}


def truth_text(truth: Mapping[str, Any], ranked_by: str) -> str | None:
  """Returns how well the score that ranks agrees with `truth` of scores.json; None without one."""
  keys = ("auroc_wrong_label", "average_precision_wrong_label", "spearman_difficulty")
  auroc, precision, spearman = (truth.get(key, {}).get(ranked_by) for key in keys)
  share = _mean(truth.get("wrong_labels_in_A", {}).values())
  parts = []
  if auroc is not None:
    parts.append(
      f"low {ranked_by} finds wrong labels with an area under the ROC curve of {auroc:.3f} "
      "(1 is perfect, 0.5 is chance)"
    )
  if precision is not None:
    parts.append(
      f"the average precision is {precision:.3f} (chance is {truth['wrong_label_rate']:.3f})"
    )
  if auroc is not None and share is not None:
    parts.append(f"{percent(share)} % of A have a wrong label (mean over seeds)")
  if spearman is not None:
    parts.append(
      f"the rank correlation (Spearman) of {ranked_by} with the known easiness is {spearman:.3f}"
    )
  return f"Against the known truth: {'; '.join(parts)}." if parts else None


def score_rows(score_info: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """Returns a row of text for each score of scores.json; "-" for what is not known.

  The cells are: name, which end is easy, source, mean and sd, sd over the seeds, correlation of two
  seeds, and, as a sign of wrong labels, area under the ROC curve and average precision.
  """
  truth = score_info.get("truth", {})
  signs = [truth.get(f"{what}_wrong_label", {}) for what in ("auroc", "average_precision")]
  return [
    (
      name,
      "easier" if entry["direction"] == "higher_is_easier" else "harder",
      entry["source"],
      f"{_short(entry['mean'])} \u00b1 {_short(entry['sd'])}",
      _short(entry.get("sd_over_seeds")),
      *(
        _short(value) for value in (entry.get("mean_spearman"), *(sign.get(name) for sign in signs))
      ),
    )
    for name, entry in score_info.get("scorers", {}).items()
  ]


def _short(value: float | None) -> str:
  """Returns a number with three significant digits; "-" for None, NaN and infinity."""
  return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


def accuracy_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns a row for each arm: its name, a cell (text, is bad) for each seed, and its means.

  A seed that diverged has no accuracy; that of a seed that collapsed has the sign "!".
  """
  rows = []
  for arm, entry in results["arms"].items():
    accuracy = by_seed(entry["accuracy"])
    diverged, collapsed = (
      {int(seed) for seed in entry.get(flaw, [])} for flaw in ("diverged", "collapsed")
    )
    texts = {seed: percent(value) + "!" * (seed in collapsed) for seed, value in accuracy.items()}
    texts |= dict.fromkeys(diverged, "diverged")
    rows.append(
      {
        "name": arm,
        "cells": [
          (texts.get(seed, "-"), seed in diverged | collapsed) for seed in results["seeds"]
        ],
        "mean": mean_sd(entry),
        "n": entry["n"],
        "train": percent(_mean_without(diverged, entry.get("train_accuracy", {}))),
        "gap": percent(entry.get("gap", {}).get("mean"), signed=True),
        "fluctuation": percent(entry.get("fluctuation", {}).get("mean")),
        "best": percent(_mean_without(diverged, entry.get("paper_protocol", {}))),
        "recalibrated": percent(entry["recalibrated"]["mean"]) if "recalibrated" in entry else "-",
        "loss": _plain(_mean_without(diverged, entry.get("loss", {}))),
      }
    )
  return rows


def contrast_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns a row of text for each contrast, in the order of `contrasts_of`.

  A row that begins another family of tests has "begins".
  """
  rows = [_contrast_row(results["seeds"], entry, _mark(entry)) for entry in _about_arms(results)]
  power = results.get("power")
  if power:
    label = "" if power["contrast"].get("planned", True) else ", exploratory"
    row = _contrast_row(results["seeds"], power["contrast"], f" (positive control{label})")
    verdicts = {True: "found, as it must be", False: "not found: no power"}
    rows.append(row | {"verdict": verdicts.get(power["called_worse"], row["verdict"])})
  for place in family_starts(results):
    rows[place]["begins"] = True
  return rows


def contrasts_of(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """Returns the contrasts: of the method, of arms with own controls, of the positive control."""
  return differences_of(results)


def family_starts(results: Mapping[str, Any]) -> list[int]:
  """Returns the indices in `contrasts_of` at which another family of tests begins, without 0."""
  ends = itertools.accumulate(len(results.get(key, {})) for key in ("contrasts", "against_control"))
  return [end for end in dict.fromkeys(ends) if 0 < end < len(contrasts_of(results))]


def _about_arms(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  return [*results.get("contrasts", {}).values(), *results.get("against_control", {}).values()]


def _contrast_row(seeds: Sequence[int], entry: Mapping[str, Any], mark: str) -> dict[str, Any]:
  differences = by_seed(entry["per_seed"])
  wilcoxon = entry.get("wilcoxon") or {}
  correlation = entry.get("correlation")
  return {
    "name": entry["difference"] + mark,
    "begins": False,
    "cells": [(percent(differences.get(seed), signed=True), False) for seed in seeds],
    "mean": mean_sd(entry, signed=True),
    "n": entry["n"],
    "interval": _interval(entry["interval"]),
    "p": p_text(entry["p"]),
    "p_holm": p_text(entry["p_holm"]),
    "smallest": percent(entry["smallest_detectable"]),
    "verdict": entry["verdict"].replace("+-", "\u00b1"),
    "correlation": "-" if correlation is None else f"{correlation:+.2f}",
    "wilcoxon": _digits(wilcoxon.get("p")),
    "wilcoxon_smallest": _digits(wilcoxon.get("smallest_p")),
    "bootstrap": _interval(entry.get("bootstrap")),
  }


def _mark(contrast: Mapping[str, Any]) -> str:
  """Returns what follows the name of a contrast that is not like the others, else ""."""
  said = [text for _, key, text in _MARKS if not contrast.get(key, True)]
  return f" ({', '.join(said)})" if said else ""


def _digits(value: float | None) -> str:
  return "-" if value is None else f"{value:.3g}"


def _interval(interval: Sequence[float] | None) -> str:
  return (
    "-"
    if interval is None
    else f"{percent(interval[0], signed=True)} to {percent(interval[1], signed=True)}"
  )


def result_table_text(results: Mapping[str, Any]) -> str:
  """Returns the result table as plain text, at most 100 columns wide.

  Accuracies are in percent, differences (method - arm) in points. Seeds that do not fit (more than
  five, or long names) follow in blocks of their own; the positive control comes last.
  """
  contrasts, own = results.get("contrasts", {}), list(results.get("against_control", {}).values())
  blocks = _seed_blocks(results)
  blocks[0] = test_label_lines([results]) + blocks[0]
  if contrasts:
    blocks[0] += f"\n{_OF_METHOD}"
    if any(contrast["verdict"].endswith("no verdict") for contrast in contrasts.values()):
      blocks[0] += f"\n{MORE_SEEDS}"
  if own:
    names = ["arm minus its own control", *(one["difference"] for one in own)]
    blocks.append(f"{block([names, *_brief_columns(own)])}\n{_OF_OWN}")
  if "imbalance" in results:
    told = [_filled(text) for text in imbalance_section.legend(results)]
    blocks.append("\n".join([block(imbalance_section.columns(results)), *told]))
  if answers := results.get("predictions", {}).get("answers"):
    blocks.append(f"{block(answer_table.columns(answers))}\n{answer_table.LEGEND}")
  signs = [
    f"{sign} {text}"
    for sign, key, text in _MARKS
    if any(not contrast.get(key, True) for contrast in (*contrasts.values(), *own))
  ]
  if signs:
    blocks.append(", ".join(signs))
  said = [f"Positive control: {results['power']['says']}."] if "power" in results else []
  said += list(filter(None, [results.get("looks", {}).get("sentence")]))
  said += [f"! {results['collapse']}"] if "collapse" in results else []
  said += [f"! {text}"] if (text := of_unlearned(results)) else []
  said += _least_accurate_classes(results) + _recommended(results)
  blocks += [_filled(text) for text in said]
  return "\n\n".join(blocks)


def test_label_lines(all_results: Iterable[Mapping[str, Any]]) -> str:
  """Returns lines on test labels that are not those of the set; "" where all are."""
  changes = [
    change
    for results in all_results
    for change in results.get("data", {}).get("label_changes", ())
    if change["key"].endswith("_test")
  ]
  texts = dict.fromkeys(f"! {change['text']}" for change in changes)
  return "".join(f"{_filled(text)}\n" for text in texts)


def _filled(text: str) -> str:
  return textwrap.fill(text, MAX_WIDTH, break_on_hyphens=False)


def _recommended(results: Mapping[str, Any]) -> list[str]:
  entry = results.get("recommended")
  if entry is None:  # a run of an earlier version
    return []
  if entry["file"] is None:
    return [f"! There is no model.safetensors: {entry['why']}."]
  which = f"{entry['arm']}, seed {entry['seed']}"
  return [f"Recommended (model.safetensors): {which}; {entry['why']}. The rule: {entry['rule']}."]


def _least_accurate_classes(results: Mapping[str, Any]) -> list[str]:
  """Returns a text on the three classes that are recognised least, for the baseline and for the
  method, or without one the recommended arm.
  """
  recommended = (results.get("recommended") or {}).get("arm", "baseline")
  names = [str(name) for name in results.get("data", {}).get("class_names", ())]
  parts = []
  for arm in dict.fromkeys(("baseline", "method" if "method" in results["arms"] else recommended)):
    mean = results["arms"].get(arm, {}).get("class_accuracy", {}).get("mean") or []
    known = [(value, name) for value, name in zip(mean, names, strict=False) if value is not None]
    worst = sorted(known, key=lambda one: one[0])[:MAX_WORST]
    if len(known) > 1:
      parts.append(f"{arm} " + ", ".join(f"{name} {percent(value)}" for value, name in worst))
  start = "Classes, lowest accuracy first, %, mean over seeds"
  return [f"{start}: {'; '.join(parts)}."] if parts else []


def class_rows(results: Mapping[str, Any], arms: Sequence[str]) -> list[tuple[str, list[str]]]:
  """Returns (class, its accuracy for each arm, mean over seeds, in percent), or [] if not known."""
  names = results["data"].get("class_names") or []
  means = [results["arms"][arm].get("class_accuracy", {}).get("mean") for arm in arms]
  return [
    (str(name), [percent(mean[index] if mean else None) for mean in means])
    for index, name in enumerate(names)
    if any(means)
  ]


def _seed_blocks(results: Mapping[str, Any]) -> list[str]:
  """Returns the table of the arms: all figures beside the first seeds, then the other seeds."""
  seeds, contrasts = list(results["seeds"]), results.get("contrasts", {})
  arms = {row["name"]: row for row in accuracy_rows(results)}
  differences, verdicts = _brief_columns([contrasts.get(arm) for arm in results["arms"]])
  means, sds = (
    [percent(entry[key]) for entry in results["arms"].values()] for key in ("mean", "sd")
  )
  names = ["test accuracy, %", *arms]
  tail = [["mean", *means], ["sd", *sds], ["method-arm", *differences[1:]], verdicts]
  cells = [
    [f"s{seed}", *(arms[arm]["cells"][index][0] for arm in arms)]
    for index, seed in enumerate(seeds)
  ]
  shown = min(len(seeds), MAX_SEEDS_PER_BLOCK)
  while shown > 1 and _width([names, *cells[:shown], *tail]) > MAX_WIDTH:
    shown -= 1
  starts = range(shown, len(seeds), MAX_SEEDS_PER_BLOCK)
  others = [block([names, *cells[start : start + MAX_SEEDS_PER_BLOCK]]) for start in starts]
  return [block([names, *cells[:shown], *tail]), *others]


def _brief_columns(contrasts: Sequence[Mapping[str, Any] | None]) -> tuple[list[str], list[str]]:
  """Returns the columns "points" and "verdict" (with its signs); "" where there is no contrast."""
  differences, verdicts = ["points"], ["verdict"]
  for contrast in contrasts:
    differences.append("" if contrast is None else percent(contrast["mean"], signed=True))
    signs = [f" {sign}" for sign, key, _ in _MARKS if contrast and not contrast.get(key, True)]
    verdicts.append("" if contrast is None else contrast["verdict"] + "".join(signs))
  return differences, verdicts


def block(columns: Sequence[Sequence[str]]) -> str:
  """Returns the columns side by side, two blanks apart.

  The first column, and a last one of verdicts, are aligned left; the others are aligned right.
  """
  widths = [max(map(len, column)) for column in columns]
  has_verdict = columns[-1][0] == "verdict"
  lines = []
  for cells in zip(*columns, strict=True):
    texts = [
      cells[0].ljust(widths[0]),
      *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    if has_verdict:
      texts[-1] = cells[-1]
    lines.append("  ".join(texts).rstrip())
  lines.insert(1, "-" * max(map(len, lines)))
  return "\n".join(lines)


def _width(columns: Sequence[Sequence[str]]) -> int:
  return sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)


def _mean(values: Iterable[float | None]) -> float | None:
  finite = [value for value in values if value is not None and math.isfinite(value)]
  return math.fsum(finite) / len(finite) if finite else None


def mean_text(values: Iterable[float | None]) -> str:
  """Returns the mean of the finite values with four decimals; "-" where there are none."""
  return _plain(_mean(values))


def _mean_without(diverged: set[int], values: Mapping[Any, float | None]) -> float | None:
  return _mean([value for seed, value in by_seed(values).items() if seed not in diverged])


def _plain(value: float | None) -> str:
  return "-" if value is None else f"{value:.4f}"


def stop_rows(results: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
  """Returns for every arm the round of each seed's network; [] without early stopping."""
  rows = []
  for arm, ends in results.get("early_stopping", {}).get("arms", {}).items():
    best, stopped = ends["best_round"], ends["stopped_after"]
    cells = [
      f"{best[seed] or 'none measured'}"
      + (f", stopped after {stopped[seed]}" if stopped[seed] is not None else ", not stopped")
      for seed in best
    ]
    rows.append((arm, cells))
  return rows
