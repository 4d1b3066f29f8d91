"""The tables of building blocks: what a config may name, what it means, and where it comes from.

They hold no code, because a config is read before JAX is. A table of the same names beside the
function says what a block does: `ACTIVATIONS` in `sdt/models/activations.py`, and so on. Help,
refusals and docs/toolbox.md come from the tables here.
"""
