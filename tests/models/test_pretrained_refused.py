"""Weights of another network, or of images with other channels: what is told of them."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from sdt.errors import DataError
from sdt.models import init_variables
from sdt.models.namings import path_of, public_tensors
from sdt.models.pretrained import load
from sdt.models.resnet import ResNet


def names(variables):
  """Returns the arrays by their path."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return {path_of(path): np.asarray(leaf) for path, leaf in leaves}


def test_a_file_of_another_network_of_sdts_is_told_with_the_network_that_its_header_names(tmp_path):
  earlier = names(init_variables(ResNet(3, blocks=(1,), widths=(4,)), (8, 8, 3), 5))
  start = init_variables(ResNet(3, blocks=(2,), widths=(4,)), (8, 8, 3), 0)
  for config, told in (
    ({"model": {"name": "resnet20"}}, "; the file is of model.name=resnet20; choose the "),
    ({"model": {"name": ["resnet20"]}}, "; choose the "),
    ([], "; choose the "),
  ):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(earlier, {"config": json.dumps(config)}))
    with pytest.raises(DataError) as caught:
      load(path, None, start, with_head=False)
    assert "(batch_stats/stage1_block2/norm1/mean, " in str(caught.value)
    assert f", ...){told}" in str(caught.value)


@pytest.mark.parametrize(
  ("of_file", "of_data", "told"),
  [
    (1, 3, "with 1 channel, yours have 3: give yours as grey arrays [N, height, width] (data.name"),
    (3, 1, "with 3 channels, yours have 1: give yours as image files (data.name=folder or csv)"),
    (3, 4, "with 3 channels, yours have 4: both must be arrays of the same channels"),
  ],
)
def test_weights_of_images_with_other_channels_are_told_so_with_a_remedy(
  of_file, of_data, told, tmp_path
):
  path = tmp_path / "a.safetensors"
  own = ResNet(3, blocks=(1,), widths=(4,))
  whole = ResNet(3, blocks=(1,), widths=(4,), stem="imagenet")
  for model, name in ((own, None), (whole, "resnet")):
    earlier = init_variables(model, (64, 64, of_file), 0)
    tensors = names(earlier) if name is None else public_tensors(name, earlier)
    path.write_bytes(save(tensors))
    start = init_variables(model, (64, 64, of_data), 0)
    with pytest.raises(DataError) as caught:
      load(path, name, start, with_head=True)
    assert f"; the weights are of images {told}" in str(caught.value)
