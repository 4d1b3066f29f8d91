"""What the top of the report says to who wants a model."""

from sdt.report.wording import of_unlearned, of_use

TOGETHER = {"accuracy": 0.9086, "recall": [1.0, 0.75, None, 0.764, 0.99]}
RESULTS = {
  "data": {"class_names": ["zero", "one", "two", "three", "four"], "num_classes": 5},
  "recommended": {"arm": "baseline", "seed": 3, "file": "models/baseline-seed3.safetensors"},
  "predictions": {
    "arms": {
      "baseline": {
        "per_seed": {"3": {"accuracy": 0.8142, "recall": [1.0, 0.5, None, 0.7, 0.9]}},
        "ensemble": TOGETHER,
      }
    }
  },
}


def test_it_says_how_good_all_networks_are_together_and_one_alone_and_the_weakest_classes():
  assert of_use(RESULTS) == (
    "To use: the networks of baseline together, which predict asks, are right on 90.86 % of the "
    "test images; model.safetensors (seed 3) alone on 81.42 %. Weakest classes: one (75 %), "
    "three (76 %), four (99 %)."
  )


def test_a_single_network_is_named_alone():
  entry = {**RESULTS["predictions"]["arms"]["baseline"], "ensemble": None}
  single = {**RESULTS, "predictions": {"arms": {"baseline": entry}}}
  assert of_use(single) == (
    "To use: model.safetensors (seed 3) is right on 81.42 % of the test images. "
    "Weakest classes: one (50 %), three (70 %), four (90 %)."
  )


def test_nothing_is_said_where_there_is_no_network_to_use_or_nothing_is_known_of_it():
  none = {**RESULTS, "recommended": {"arm": None, "seed": None, "file": None}}
  assert of_use(none) == ""
  assert of_use({**RESULTS, "predictions": {}}) == ""
  assert of_use({"data": RESULTS["data"]}) == ""


def test_a_class_of_which_most_examples_are_suspects_is_named_with_a_warning():
  found = [{"class": "nine", "num": 3, "of": 3}, {"class": "eight", "num": 4, "of": 5}]
  text = of_unlearned({"suspects": {"unlearned": found}})
  assert "are suspects (nine: 3 of 3; eight: 4 of 5)." in text
  assert text.endswith("Do not drop its examples unseen.")
  assert of_unlearned({"suspects": {"unlearned": []}}) == ""
  assert of_unlearned({"suspects": {"num": 3}}) == ""  # of an earlier version
  assert of_unlearned({}) == ""
