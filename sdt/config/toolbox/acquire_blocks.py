"""Strategies of active learning by name; the code is in `sdt/scores/acquisition.py`."""

import types

from sdt.config.toolbox.block import Block, Table

STRATEGIES: Table = types.MappingProxyType(
  {
    "random": Block(
      "every hidden example alike: 0, so that the seeded hash of the ids decides; the control",
      "the usual control, Settles 2009",
    ),
    "margin": Block(
      "where the two most probable classes are closest: p2 - p1, from -1 to 0",
      "Scheffer, Decomain and Wrobel 2001",
    ),
    "entropy": Block(
      "where the probabilities are most even: -sum_k p_k log p_k, in nats, from 0 to log K",
      "Shannon 1948; Settles 2009, section 3.1",
    ),
    "least_confidence": Block(
      "where the most probable class is least probable: 1 - p1, from 0 to 1 - 1/K",
      "Lewis and Gale 1994; Settles 2009, section 3.1",
    ),
  }
)
