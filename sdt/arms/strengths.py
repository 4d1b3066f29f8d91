"""How strong the operations of `augment.ops` get in a run."""

from sdt.arms.catalogue import spec_of, trainings
from sdt.arms.planning import values_of
from sdt.config import Config
from sdt.config.toolbox.block import Call
from sdt.config.toolbox.operation_blocks import off_strength, strength_of
from sdt.config.toolbox.pipeline import Pipeline, pipeline_of


def strongest(config: Config) -> Pipeline:
  """Returns the augmentation of a config, each operation at its largest strength in any phase.

  `augment_strength`, which scales all operations of a phase together, is not in it.
  """
  pipeline = pipeline_of(config.augment)
  specs = [spec_of(arm, config) for arm in trainings(config)]
  phases = [values for spec in specs for one in spec.phases for values in values_of(config, one)]

  def at_most(call: Call) -> Call:
    first, *others = call.numbers
    name, off = strength_of(call.name), off_strength(call.name)
    numbers = [values.get(name, first) for values in phases]
    return Call(call.name, (max(numbers, key=lambda number: abs(number - off)), *others))

  return Pipeline(tuple(map(at_most, pipeline.calls)), pipeline.fill)
