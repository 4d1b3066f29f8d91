"""What a page says of the parts of a run: its A, its classes, and its seeds that diverged."""

from collections.abc import Mapping
from typing import Any

from sdt.report.read import Artifacts, diverged

# split.policy -> what A is, and which of its examples the mosaic shows. Without config.json nobody
# knows.
_OF_A = {
  "": ("", "Examples of A"),
  "top": ("the easiest examples", "The examples of A with the highest scores"),
  "bottom": ("the hardest examples", "The examples of A with the lowest scores"),
  "random": ("a random draw", "The examples of the random A with the highest scores"),
  "window": (
    "the easiest examples after the very easiest ones",
    "The examples of A with the highest scores",
  ),
  "threshold": (
    "the examples easier than a threshold",
    "The examples of A with the highest scores",
  ),
  "mislabel_cut": (
    "the easiest examples; the hardest ones are in neither A nor B",
    "The examples of A with the highest scores",
  ),
}


def section(artifacts: Artifacts, name: str) -> Mapping[str, Any]:
  """Returns a section of the run's config; {} where it is not known."""
  config: Mapping[str, Any] = artifacts.config.get("config", {})
  return config.get(name, {})


def sentences(*parts: str) -> str:
  """Returns the parts that are not empty, one after the other."""
  return " ".join(part for part in parts if part)


def class_names(results: Mapping[str, Any]) -> list[str]:
  """Returns the class names, numbered where the results have none."""
  names = results["data"].get("class_names") or range(results["data"]["num_classes"])
  return [str(name) for name in names]


def what_A(artifacts: Artifacts) -> str:  # noqa: N802 - the paper's name
  """Returns "A" and what it is by split.policy; "A" alone where no config tells it."""
  rule = section(artifacts, "split")
  what = _OF_A.get(rule.get("policy", ""), _OF_A[""])[0]
  return f"A ({what}{' of each class' if rule.get('class_balanced') else ''})" if what else "A"


def mosaic_of_A(artifacts: Artifacts) -> str:  # noqa: N802
  """Returns which of A's examples its mosaic shows."""
  return _OF_A.get(section(artifacts, "split").get("policy", ""), _OF_A[""])[1]


def left_out(artifacts: Artifacts) -> str:
  """Returns a sentence that names the seeds that curves leave out; "" where none diverged."""
  lost = diverged(artifacts.metrics)
  named = "; ".join(
    f"{arm}, seed {', '.join(map(str, seeds))}"
    for arm, seeds in lost.items()
    if arm in artifacts.results["arms"]
  )
  return f"Seeds that diverged are left out of all rounds: {named}." if named else ""
