"""Whole runs, down to the exports, of networks made of other blocks than their own."""

import numpy as np
import pytest

from sdt import files
from sdt.models.norms import NORMS
from tests.support import tiny, whole
from tests.trained.exports.test_families import check_accuracies

BLOCKS = {
  **{norm: {"model__norm": norm} for norm in NORMS},
  "prelu": {"model__activation": "prelu", "model__initialisation": "orthogonal"},
  "lsuv": {"model__norm": "none", "model__start": "lsuv", "model__bias_start": 0.01},
  "data": {"model__norm": "weight", "model__start": "data"},
  "fixup": {"model__norm": "none", "model__start": "fixup"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_a_run_finishes_and_its_exports_have_its_accuracies(name, tmp_path):
  config = whole.resnet(seeds=(0,), **BLOCKS[name])
  assert whole.run(config, tmp_path / "run") == 0
  arms = files.read_json(tmp_path / "run" / "results.json")["arms"]
  has_statistics = BLOCKS[name].get("model__norm", "batch") == "batch"
  for entry in arms.values():
    assert ("recalibrated" in entry) == has_statistics
    assert all(np.isfinite(list(entry["accuracy"].values())))
  check_accuracies(tmp_path / "run", tiny.data(config).test)
