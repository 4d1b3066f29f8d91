"""The engine: trains a plan, and scores and evaluates networks, in compiled programs."""

from sdt.engine.plan import Phase, Plan
from sdt.engine.state import TrainState
from sdt.engine.step import train_step
from sdt.engine.trainer import Trainer

__all__ = ["Phase", "Plan", "TrainState", "Trainer", "train_step"]
