"""Words that stand in place of a value, such as batch_size=auto."""

import ml_collections

from sdt.config import from_dict, resolve, to_dict


def test_auto_in_place_of_a_batch_size_keeps_the_number_of_the_file_and_a_number_undoes_it():
  def of(file, *overrides):
    config = resolve(ml_collections.ConfigDict(file), overrides)
    assert from_dict(to_dict(config)) == config
    return config.batch_size, config.fit_batch

  assert of({}) == (128, False)
  assert of({"batch_size": 64}, ("batch_size", "auto")) == (64, True)
  assert of({"batch_size": "auto"}) == (128, True)
  assert of({"batch_size": "auto"}, ("batch_size", "64")) == (64, False)
  assert of({}, ("fit_batch", "True"), ("batch_size", "64")) == (64, True)
