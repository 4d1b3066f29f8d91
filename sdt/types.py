"""Names for what travels as a pytree: networks as functions see them, and their variables."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

# Gets a line of text for the user, without its newline.
type Log = Callable[[str], None]
# Trees of arrays whose structure the network or the optimiser decides.
type PyTree = Any
type Params = PyTree  # weights, leaves of any shape; in programs they lead with [R]
type BatchStats = PyTree  # running means and variances of BatchNorm
type OptState = PyTree  # what an optax chain keeps
type Variables = dict[str, PyTree]  # {"params": Params, "batch_stats": BatchStats}

# A field of a registered dataclass: an array on the devices or the host, its shape and dtype, or
# whatever `jax.tree.map` makes of it. The comment beside the field says shape and dtype.
type Leaf = Any


@runtime_checkable
class Model(Protocol):
  """A network: a Linen module of `sdt.models`."""

  def __hash__(self) -> int:
    """Equal networks have the same hash: programs are compiled once for them."""

  def apply(self, variables: Variables, *args: Any, **options: Any) -> Any:
    """Returns the logits [B, K]; with `mutable`, also the collections that it changed."""

  def clone(self, **changes: Any) -> "Model":
    """Returns the same network with other attributes."""
