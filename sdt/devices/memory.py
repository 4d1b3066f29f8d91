"""What a device that has run out of memory looks like, in JAX's errors."""


def is_out_of_memory(error: Exception) -> bool:
  """Returns whether a device had no memory for an array or a program; `error` is JAX's."""
  return "RESOURCE_EXHAUSTED" in str(error)
