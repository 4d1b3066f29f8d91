"""The views under which a trained network is asked about new images."""

from sdt.config.answer_conflicts import read_views
from sdt.config.toolbox.view_blocks import CENTRE, View
from sdt.errors import ConfigError
from sdt.inputs.views import farthest
from sdt.trained.model import Model


def views_for(model: Model, text: str) -> tuple[View, ...]:
  """Returns the views of a text, such as `flip shifts(1)`, for a network of a run.

  Raises:
    ConfigError: it cannot be read, or the network can be given no such views.
  """
  views, shape = read_views(text, "views"), model.input_shape
  if views == (CENTRE,):
    return views
  what = f"views={text!r}"
  if len(shape) == 1:
    raise ConfigError(f"{what}: the network takes vectors, which have no views; leave it out")
  if any(view.place != CENTRE.place for view in views) or (
    model.config.data.crop_size is not None
    and any(view.shift != CENTRE.shift or view.scale != 1.0 for view in views)
  ):
    raise ConfigError(
      f"{what}: a new image is cut to the middle that the network sees (data.crop_size) before it "
      "is asked, so nothing is left around it; take flip alone, or evaluate.views in the run"
    )
  if farthest(views) >= min(shape[:2]):
    raise ConfigError(
      f"{what}: a view is moved by {farthest(views)} pixels, and the network sees {shape[0]} x "
      f"{shape[1]}; give shifts fewer pixels"
    )
  return views
