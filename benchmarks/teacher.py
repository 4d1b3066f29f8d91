"""Times a taught step: a round of the baseline with a teacher over the same one without.

    .venv/bin/python benchmarks/teacher.py [--kind=distil] [--network=resnet8] [--rounds=12]

Drawn figures of 32 x 32 in batches of 128, with a share of 0.5 everywhere. The two take turns,
one round each (A/B/B/A), so a drift of the machine affects both alike. The script prints medians,
and the median of the ratios of neighbours with its quartiles, for seconds and for processor
seconds. Trust processor seconds if other programs run.
"""

from __future__ import annotations

import dataclasses

import measure

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.data import sources


def main() -> None:
  parser = measure.parser(__doc__, rounds=12, seeds=1, kind="distil", network="resnet8", steps=4)
  options = parser.parse_args()
  seeds = tuple(range(options.seeds))
  config = measure.steps_config(options.network, 128, options.steps, seeds=seeds)
  data = sources.load(config.data)
  plain = make_plan("baseline", Setting.of(config, data))
  phases = tuple(dataclasses.replace(one, overrides={options.kind: 0.5}) for one in plain.phases)
  cases = {}
  for name, plan in (("plain", plain), ("taught", dataclasses.replace(plain, phases=phases))):
    training = measure.Training.make(config, data, plan)
    print(f"{name}: compiled in {training.compile_secs:.1f} s")
    cases[name] = training.timed
  figures = measure.in_turn(cases, options.rounds - 1, warm_ups=1)
  ratios = {
    key: measure.show_ratio("a round taught / plain", figures, "taught", "plain", key)
    for key in ("secs", "core_secs")
  }
  about = {"kind": options.kind, "network": options.network}
  measure.write(options.out, "teacher", about | {"ratios": ratios, "figures": figures})


if __name__ == "__main__":
  main()
