"""Choices of what a training moves that cannot stand together."""

from sdt.config.conflict import Conflict

_KEYS = ("optim.train_from", "optim.body_rate_factor")

TRANSFER: tuple[Conflict, ...] = (
  Conflict(
    _KEYS,
    lambda of: of["optim.train_from"] is not None and of["optim.body_rate_factor"] == 0.0,
    "both say what is frozen, and a factor of 0 freezes all but the head",
    way_out="leave one of the two out",
  ),
  Conflict(
    _KEYS,
    lambda of: of["optim.train_from"] == "head" and of["optim.body_rate_factor"] != 1.0,
    "the factor is on the rate of what is trained beside the head, and nothing is",
    way_out="leave optim.body_rate_factor at 1, or train from an earlier stage",
  ),
)
