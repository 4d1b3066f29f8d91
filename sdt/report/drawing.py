"""Which pictures the artifacts of a run allow: draws them all, each with its caption."""

from sdt.report import (
  curve_pictures,
  figures,
  fonts,
  forest,
  image_figures,
  monitor_pictures,
  prediction_pictures,
  score_pictures,
  search_pictures,
  tables,
)
from sdt.report.picture import Picture
from sdt.report.read import Artifacts
from sdt.report.wording import class_names, section, sentences

_CAM_ARMS = {1: "the {0}'s map", 2: "the {0}'s and the {1}'s map"}
# By the kind of a map: what it is of, what its colours say, and what is in the picture.
_CLASS_MAPS = (
  "of the class of its label",
  "A dark place speaks least for that class, a yellow place speaks most",
  "class activation maps of test images",
)
_ROLLOUT = (
  "of the attention that reaches the class token through all blocks (attention rollout)",
  "The network reads a dark place least and a yellow place most, whatever the class",
  "attention rollout of test images",
)


def draw(artifacts: Artifacts) -> dict[str, Picture]:
  """Returns name -> picture of every figure that the artifacts allow."""
  return (
    _forest(artifacts)
    | prediction_pictures.pictures(artifacts)
    | curve_pictures.accuracies_and_losses(artifacts)
    | _activation_maps(artifacts)
    | _contact_sheet(artifacts)
    | score_pictures.histograms(artifacts)
    | score_pictures.data_map(artifacts)
    | score_pictures.classes(artifacts)
    | score_pictures.stability(artifacts)
    | curve_pictures.norms(artifacts)
    | monitor_pictures.pictures(artifacts)
    | search_pictures.pictures(artifacts)
  )


def _forest(artifacts: Artifacts) -> dict[str, Picture]:
  rows = tables.contrasts_of(artifacts.results)
  if not any(row["mean"] is not None for row in rows):
    return {}
  texts = tables.contrast_rows(artifacts.results)
  margin = section(artifacts, "stats").get("margin")
  png = figures.render(
    forest.contrasts,
    rows,
    [text["name"] for text in texts],
    [text["verdict"] for text in texts],
    margin=margin,
    starts=tables.family_starts(artifacts.results),
  )
  reading = "There are too few seeds for intervals."
  if any(row["interval"] is not None for row in rows):
    equal = ' "Equal": a test shows that the difference is within the shaded margin.'
    reading = (
      "An interval that excludes zero shows a difference, one that contains zero does not."
      + (equal if margin else "")
    )
  caption = sentences(
    "Each row is the first arm minus the second. Right of zero, the first arm is better.", reading
  )
  alt = (
    "differences between the method and every other arm, and of arms from their own controls, "
    "with intervals and verdicts"
  )
  return {"forest": Picture(png, alt, caption, kind="wide")}


def _activation_maps(artifacts: Artifacts) -> dict[str, Picture]:
  if not artifacts.cam:
    return {}
  names = fonts.drawn(class_names(artifacts.results))
  arms = [str(arm) for arm in artifacts.cam["arms"]]
  png = figures.render(
    image_figures.class_activation_maps, artifacts.cam, names.texts, families=names.families
  )
  what, colours, alt = _ROLLOUT if "kind" in artifacts.cam else _CLASS_MAPS
  caption = (
    "Test images, drawn at random within each group. Beside each image: "
    f"{_CAM_ARMS[len(arms)].format(*arms)} {what} (seed {int(artifacts.cam['seed'])}). {colours}. "
    "Each map has its own scale: compare places, not strengths. Below a map: the class that the "
    "network predicts, and its probability."
  )
  return {"cam": Picture(png, alt, caption, kind="wide mosaic")}


def _contact_sheet(artifacts: Artifacts) -> dict[str, Picture]:
  if not artifacts.augmentation:
    return {}
  content = artifacts.augmentation
  rows = [str(row) for row in content["rows"]]
  png = figures.render(image_figures.contact_sheet, rows, content["images"])
  caption = (
    "The same training images under each operation of augment.ops alone, at its largest strength "
    "in any arm before augment_strength scales it, and under all of them. Training draws new "
    "random numbers in every step. Can you still tell the classes?"
  )
  alt = "training images under each operation of the augmentation"
  return {"augmentation": Picture(png, alt, caption, kind="wide mosaic")}
