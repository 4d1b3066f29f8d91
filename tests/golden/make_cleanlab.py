"""Writes cleanlab.npz: cleanlab's self-confidence and normalised margin of drawn probabilities.

Command (in this folder, Python with cleanlab; last run with cleanlab 2.9.0): python
make_cleanlab.py
"""

from importlib.metadata import version
from pathlib import Path

import drawn
import numpy as np
from cleanlab.rank import get_normalized_margin_for_each_label, get_self_confidence_for_each_label

NUM, CLASSES = 500, 7
logits = drawn.uniform("cleanlab/logits", (NUM, CLASSES), -9.0, 9.0)
labels = np.floor(drawn.uniform("cleanlab/labels", (NUM,), 0.0, CLASSES)).astype(np.int64)
probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
arrays = {
  "confidence": get_self_confidence_for_each_label(labels, probabilities),
  "normalized_margin": get_normalized_margin_for_each_label(labels, probabilities),
}
drawn.save(Path(__file__).with_name("cleanlab.npz"), arrays)
print(f"cleanlab {version('cleanlab')}")
