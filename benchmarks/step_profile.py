"""Shows where the time of a training step goes on a CPU, by kind of operation.

    .venv/bin/python benchmarks/step_profile.py --network=resnet56 [--batch_size=128] [--steps=4]
    [--compiler_options="NAME=VALUE ..."] [--out=FILE]

One dispatch of --steps steps is trained under JAX's profiler, after two of warming up. The
milliseconds are of wall time and of the operations that XLA runs, so what runs inside an operation
counts with it. Operations that run at the same time count each: the sum can be larger than the
step. Without oneDNN: --compiler_options=xla_cpu_experimental_onednn_custom_call=false.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import jax
import measure

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-$]+) = (\S+) .*")
_OF_NETWORK = re.compile(r'op_name="([^"]*)"')


def main() -> None:
  options = measure.parser(
    __doc__, network="resnet56", batch_size=128, image_size=32, steps=4, compiler_options=""
  ).parse_args()
  changes = {
    "data__shapes__image_size": options.image_size,
    "parallel__compiler_options": options.compiler_options or None,
  }
  texts: list[str] = []
  compile_it = jax.stages.Lowered.compile

  def kept(lowered: jax.stages.Lowered, *args: object, **named: object) -> jax.stages.Compiled:
    compiled = compile_it(lowered, *args, **named)
    texts.append(compiled.as_text() or "")
    return compiled

  with mock.patch.object(jax.stages.Lowered, "compile", kept):
    training = measure.Training.make(
      measure.steps_config(options.network, options.batch_size, options.steps, **changes)
    )
  for _ in range(2):
    training.dispatch()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      took = training.timed()
    [file] = Path(folder).rglob("*.xplane.pb")
    events = _events(file)
  kinds = _kinds(max(texts, key=len))
  millisecs, counts = Counter[str](), Counter[str]()
  for name, (millisec, count) in events.items():
    kind = kinds.get(name.split("__onednn")[0])
    if kind:
      millisecs[kind] += millisec / options.steps
      counts[kind] += count / options.steps
  print(f"a step: {1e3 * took['secs'] / options.steps:.0f} ms, under the profiler")
  for kind, millisec in millisecs.most_common():
    print(f"{millisec:8.1f} ms  {counts[kind]:6.0f} operations  {kind}")
  about = {key: getattr(options, key) for key in ("network", "batch_size", "image_size", "steps")}
  figures = {"took": took, "millisecs": millisecs, "operations": counts}
  measure.write(
    options.out,
    "step_profile",
    {**about, "compiler_options": options.compiler_options, **figures},
  )


def _events(file: Path) -> dict[str, tuple[float, int]]:
  """Returns milliseconds and number of the events of each name."""
  millisecs, counts = Counter[str](), Counter[str]()
  for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
    for line in plane.lines:
      for event in line.events:
        millisecs[event.name] += event.duration_ns / 1e6
        counts[event.name] += 1
  return {name: (millisecs[name], counts[name]) for name in millisecs}


def _kinds(text: str) -> dict[str, str]:
  """Returns the kind of each instruction of a compiled program, by its name."""
  kinds = {}
  for line in text.splitlines():
    match = _INSTRUCTION.match(line)
    if match:
      source = _OF_NETWORK.search(line)
      kinds[match.group(1)] = _kind(match.group(1), line, source.group(1) if source else "")
  return kinds


def _kind(name: str, line: str, source: str) -> str:
  if source.endswith("conv_general_dilated") and "copy" not in name and "transpose" not in name:
    if "transpose(jvp" not in source:
      return "convolution, forward"
    is_of_kernel = re.search(r"= \(?f32\[\d+,([1357]),\1,\d+\]", line)  # C, taps, taps, O
    return "convolution, kernel's gradient" if is_of_kernel else "convolution, images' gradient"
  if "copy" in name or "transpose" in name:
    return "changes of layout"
  if "reduce" in name or source.endswith("reduce_sum"):
    return "sums"
  return "element by element, and the rest"


if __name__ == "__main__":
  main()
