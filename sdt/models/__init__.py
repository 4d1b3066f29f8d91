"""Networks by name: Linen modules from inputs to logits."""

from sdt.models.registry import count_params, init_variables, make_model

__all__ = ["count_params", "init_variables", "make_model"]
