"""The report of a sweep: reads sweep.json and config.json, makes the printed table and the page."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sdt import files
from sdt.config.sweep_points import as_text
from sdt.report import page, tables
from sdt.report.picture import Picture
from sdt.report.read import Json, require_keys

_KEYS = ("key", "also_key", "seeds", "shared_baseline", "best_of", "values")


def write(workdir: Path) -> Path:
  """Writes figures/sweep.svg and report.html from sweep.json; returns the path of the report.

  Raises:
    DataError: sweep.json is damaged, or from another version.
    WorkdirError: the workdir cannot be written.
  """
  from sdt.report import figures, sweep_figure  # here: the printed table needs no matplotlib

  content = files.read_json(workdir / "sweep.json")
  require_keys(content, _KEYS, workdir / "sweep.json", remedy="run the same command again")
  config = files.read_json(workdir / "config.json") if (workdir / "config.json").exists() else {}
  picture = Picture(
    figures.render(sweep_figure.accuracy, content),
    f"test accuracy of every arm against {content['key']}",
    caption(content),
    kind="wide",
  )
  return page.write(workdir, {"sweep": picture}, html(content, config, picture))


def html(content: Mapping[str, Any], config: Mapping[str, Any], picture: Picture) -> str:
  """Returns the HTML. It holds no time and no path; its links to the other reports are relative."""
  values = content["values"]
  first = values[0]
  return page.render(
    "sweep.html",
    content=content,
    first=first,
    title=(
      f"{content['key']} over {len(values)} values: {first['data']['name']}, "
      f"{first['model']['name']}"
    ),
    notes=list(dict.fromkeys(note for entry in values for note in entry["data"].get("notes", []))),
    cautions=cautions(content),
    diverged=[
      (f"{label(content, entry)}, {arm}", seeds)
      for entry in values
      for arm, seeds in page.diverged(entry["arms"])
    ],
    page_kind="sweep",
    pictures={"sweep": picture},
    arms=_arms(values),
    rows=[_row(content, entry) for entry in values],
    has_also=content["also_key"] is not None,
    has_chosen=any("selection" in entry for entry in values),
    config=page.pairs(config.get("config", {})),
    config_hash=config.get("hash"),
  )


def constant_mean(content: Mapping[str, Any]) -> float | None:
  """Returns the method's mean decay if it is the same (to a percent) at all values, else None.

  If it is the same, the values differ only in where the decay is applied.
  """
  decays = [entry["mean_decay"] for entry in content["values"]]
  if len(decays) < 2 or None in decays or max(decays) > 1.01 * min(decays):
    return None
  return float(decays[0])


def caption(content: Mapping[str, Any]) -> str:
  """Returns what the figure shows, and whether the values differ in how much the method decays."""
  parts = [f"Test accuracy after the last round against {content['key']}, mean over the seeds."]
  decays = [entry["mean_decay"] for entry in content["values"] if entry["mean_decay"] is not None]
  constant = constant_mean(content)
  if constant is not None:
    parts.append(
      f"Every value has the same mean decay over the steps of a round, {_number(constant, 3)}: the "
      "values differ only in where this decay is applied."
    )
  elif len(decays) > 1:
    low, high = (_number(edge, 3) for edge in (min(decays), max(decays)))
    parts.append(
      f"The mean decay over the steps of a round changes with the value too, from {low} to {high}. "
      "This alone may explain a trend."
    )
  return " ".join(parts)


def cautions(content: Mapping[str, Any]) -> list[str]:
  """Returns what a reader who looks for the best value must know, sentence by sentence."""
  count, gain = content["best_of"]["num_values"], content["best_of"]["expected_gain_sds"]
  if count < 2:
    return ["This page chooses no value."]
  sentences = [
    f"This page chooses no value. Whoever takes the best of {count} values on the test set must "
    f"expect its mean to be about {gain:.2f} standard deviations of such a mean too high, if all "
    "values are equally good (less if their errors are correlated).",
    f"Each verdict is from the run of one value; it is not corrected for the {count} values.",
  ]
  if content["shared_baseline"]:
    sentences.append(
      "All values are compared with the same baseline networks, so their differences are "
      "correlated."
    )
  return sentences


def table_text(content: Mapping[str, Any]) -> str:
  """Returns what a sweep prints: a line for each value, then the cautions.

  Accuracies are in percent, method - baseline is in percentage points.
  """
  arms = _arms(content["values"])
  shown = [arm for arm in ("baseline", "method") if arm in arms]
  keys = [
    key.rpartition(".")[2] for key in (content["key"], content["also_key"]) if key is not None
  ]
  head = [*keys, "mean decay"]
  head += [column for arm in shown for column in (arm, "sd")] + ["n", "difference", "verdict"]
  lines = [head]
  for entry in content["values"]:
    contrast = entry["contrasts"].get("baseline")
    cells = [
      as_text(entry["value"]),
      *([_number(entry["also_value"])] if content["also_key"] is not None else []),
    ]
    cells.append(_number(entry["mean_decay"], 4))
    cells += [
      tables.percent(entry["arms"].get(arm, {}).get(name))
      for arm in shown
      for name in ("mean", "sd")
    ]
    counts = sorted({entry["arms"][arm]["n"] for arm in shown if arm in entry["arms"]})
    cells.append("-".join(map(str, counts)))
    cells += (
      ["-", ""]
      if contrast is None
      else [tables.percent(contrast["mean"], signed=True), contrast["verdict"]]
    )
    lines.append(cells)
  title = (
    "test accuracy after the last round, %, mean and sd over seeds; difference: method - "
    "baseline, paired, points"
  )
  others = [arm for arm in arms if arm not in shown]
  title = tables.test_label_lines(content["values"]) + title
  more = [f"The report also has these arms: {', '.join(others)}."] if others else []
  told = [
    line
    for sentence in [*more, *cautions(content)]
    for line in textwrap.wrap(sentence, tables.MAX_WIDTH)
  ]
  return "\n".join([title, "", tables.block(list(zip(*lines, strict=True))), "", *told])


def label(content: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
  """Returns "key = value" of one entry, without the key's section."""
  return f"{content['key'].rpartition('.')[2]} = {as_text(entry['value'])}"


def _arms(values: Sequence[Mapping[str, Any]]) -> list[str]:
  return list(dict.fromkeys(arm for entry in values for arm in entry["arms"]))


def _row(content: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what the page shows of one value, as text."""
  results = {"seeds": content["seeds"], **entry}
  accuracies = {row["name"]: row for row in tables.accuracy_rows(results)}
  for row in accuracies.values():
    row["mean"] += "" if row["n"] == len(content["seeds"]) else f" (n = {row['n']})"
    num_collapsed = len(entry["arms"][row["name"]].get("collapsed", ()))
    row["mean"] += f" ({num_collapsed} collapsed)" if num_collapsed else ""
  return {
    "value": as_text(entry["value"]),
    "also": _number(entry["also_value"]),
    "link": f"{quote(entry['folder'])}/report.html",
    "accuracies": accuracies,
    "contrasts": tables.contrast_rows(results),
    "num_easy": entry["num_easy"],
    "steps": "; ".join(
      f"{arm} {' + '.join(f'{phase} {count}' for phase, count in phases.items())}"
      for arm, phases in entry["steps_per_round"].items()
    ),
    "mean_decay": _number(entry["mean_decay"], 4),
    "chosen": ", ".join(
      f"{key} {_number(value, 4)}"
      for key, value in entry.get("selection", {}).get("chosen", {}).items()
    )
    or "-",
  }


def _number(value: Json, digits: int = 6) -> str:
  """Returns a value as text, a float with at most `digits` digits; "-" for None."""
  if value is None:
    return "-"
  return f"{value:.{digits}g}" if isinstance(value, float) else as_text(value)
