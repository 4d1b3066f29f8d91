"""The operations of `augment.ops`: what each draws for a batch, and what it makes of the images.

All numbers are drawn for the whole batch before it is divided over devices, so the number of
devices changes nothing. The rows of the tables here have the names of `OPS` in
`sdt/config/toolbox/operation_blocks.py`.
"""
