"""The type of arrays that may lie on the devices or on the host."""

import jax
import numpy as np

# An argument of a function of arrays that may be called on the host too: it returns a JAX array.
AnyArray = jax.Array | np.ndarray
