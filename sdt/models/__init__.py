"""The networks: Linen modules, inputs -> logits, by name."""

from sdt.models.registry import count_params, init_variables, make_model

__all__ = ["count_params", "init_variables", "make_model"]
