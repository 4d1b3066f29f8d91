"""Arms: the method, its baseline and its controls, as lines of text and as plans."""

from sdt.arms.catalogue import ARMS
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting

__all__ = ["ARMS", "Setting", "make_plan"]
