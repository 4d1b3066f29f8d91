"""How a set is made imbalanced on purpose, by name; the code is in `sdt/data/imbalance.py`."""

import types

from sdt.config.toolbox.block import Block, Number, Table

IMBALANCES: Table = types.MappingProxyType(
  {
    "longtail": Block(
      "class k of K keeps n ratio^(-k / (K - 1)) examples, n as large as the set allows",
      "Cui et al. 2019, section 5.1",
      (Number("ratio", above=1.0, high=1e6),),
      differs="rounded to the nearest number, not down",
    ),
    "uniform": Block(
      "each class keeps a number of examples that is drawn from low to high, both included",
      "document 003",
      (
        Number("low", low=1, high=1e9, whole=True),
        Number("high", low=1, high=1e9, whole=True),
      ),
    ),
  }
)
