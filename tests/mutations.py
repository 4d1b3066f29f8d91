"""Lines that, broken on purpose, must each fail a test: `make mutations`, or
`python tests/mutations.py [NAME ...]`.

Every mutation replaces one line of the source in a copy of the project and runs the tests that
promise what it breaks. One that no test sees is a defect of the tests: the script names it and ends
with 1. `tests/test_mutations.py` holds that each line still stands where the table says.
"""

import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Mutation:
  """A line that is broken: in `file`, `old` becomes `new`; at least one of `tests` (pytest's
  arguments) must fail.
  """

  file: str
  old: str
  new: str
  tests: str


MUTATIONS = {
  "the decay has the wrong sign": Mutation(
    "sdt/engine/optim.py",
    '2.0 * weight_decay if config.decay_form == "penalty" else weight_decay, mask',
    "-weight_decay, mask",
    "tests/engine/test_optim.py",
  ),
  "decay after the momentum where it should be before": Mutation(
    "sdt/engine/optim.py",
    "parts = [core, decay] if is_decoupled",
    "parts = [core, decay] if not is_decoupled",
    "tests/engine/test_optim.py tests/engine/test_step_torch.py",
  ),
  "the step is clipped, not the gradient": Mutation(
    "sdt/engine/optim.py",
    "optax.chain(*clips, chain) if clips",
    "optax.chain(chain, *clips) if clips",
    "tests/engine/test_optimisers.py",
  ),
  "the average keeps what it should take": Mutation(
    "sdt/engine/optim.py",
    "return kept * old + (1.0 - kept) * new",
    "return (1.0 - kept) * old + kept * new",
    "tests/engine/test_optimisers.py",
  ),
  "RMSProp adds epsilon under the root": Mutation(
    "sdt/engine/optimisers.py",
    "eps=epsilon, eps_in_sqrt=False",
    "eps=epsilon, eps_in_sqrt=True",
    "tests/engine/test_optimisers.py",
  ),
  "the warm-up begins at no rate": Mutation(
    "sdt/engine/schedule.py",
    "rising = peak * (clock + 1.0 / ticks)",
    "rising = peak * clock",
    "tests/engine/test_schedule.py",
  ),
  "the split takes the hardest": Mutation(
    "sdt/scores/split.py",
    "np.lexsort((tie_breaker(example_ids, seed), -scores))",
    "np.lexsort((tie_breaker(example_ids, seed), scores))",
    "tests/scores/test_split.py",
  ),
  "ties are broken by position": Mutation(
    "sdt/scores/split.py",
    "np.lexsort((tie_breaker(example_ids, seed), -scores))",
    "np.lexsort((np.arange(len(scores)), -scores))",
    "tests/scores/test_split.py",
  ),
  "the last, partial batch is dropped": Mutation(
    "sdt/inputs/order.py",
    "return -(-num_examples // batch_size)",
    "return num_examples // batch_size",
    "tests/inputs/test_order.py",
  ),
  "every phase has the order of the first": Mutation(
    "sdt/inputs/order.py",
    "jax.random.fold_in(jax.random.fold_in(_key(seed), _ORDER), phase), round_index",
    "jax.random.fold_in(jax.random.fold_in(_key(seed), _ORDER), 0 * phase), round_index",
    "tests/inputs/test_order.py",
  ),
  "two purposes share their random numbers": Mutation(
    "sdt/inputs/order.py",
    "_ORDER, _AUGMENT, _DROPOUT, _MIXUP = 1, 2, 3, 4",
    "_ORDER, _AUGMENT, _DROPOUT, _MIXUP = 1, 1, 3, 4",
    "tests/inputs/test_order.py",
  ),
  "padding counts in BatchNorm": Mutation(
    "sdt/models/norms.py",
    "count = valid.sum(-1, dtype=values.dtype) * math.prod(values.shape[valid.ndim : -1])",
    "count = jnp.full(valid.shape[:-1], math.prod(values.shape[valid.ndim - 1 : -1]), "
    "values.dtype)",
    "tests/models/test_registry.py",
  ),
  "a device with padding alone divides by a spread of zero": Mutation(
    "sdt/models/norms.py",
    "self._statistics(values, valid | ~valid.any(-1, keepdims=True))",
    "self._statistics(values, valid)",
    "tests/models/test_batch_norm_groups.py",
  ),
  "evaluation with the batch's own statistics": Mutation(
    "sdt/engine/evaluate.py",
    "return model.apply(variables, inputs, train=False)",
    'return model.apply(variables, inputs, train=True, mutable=["batch_stats"])[0]',
    "tests/engine/test_recalibrate.py tests/engine/test_score_pass.py",
  ),
  "a file whose digest differs is taken": Mutation(
    "sdt/files/sealed.py",
    "return len(data) == seal[1] and hashlib.sha256(data).hexdigest() == seal[0]",
    "return len(data) == seal[1]",
    "tests/files/test_sealed.py",
  ),
  "a checkpoint's leaf digests are not compared": Mutation(
    "sdt/run/checkpoints.py",
    "if Leaf(array.dtype.name, array.shape, digest(array)) != leaf:",
    "if (array.dtype.name, array.shape) != (leaf.dtype, leaf.shape):",
    "tests/run/test_checkpoints.py tests/run/test_checkpoints_damaged.py",
  ),
  "a diverged replica goes on": Mutation(
    "sdt/engine/scan.py",
    "lambda new, old: jnp.where(alive, new, old)",
    "lambda new, old: new",
    "tests/engine/test_training.py",
  ),
  "no correction for many contrasts": Mutation(
    "sdt/stats/paired.py",
    'entry["p"], entry["p_holm"] = p, adjusted[name]',
    'entry["p"], entry["p_holm"] = p, p',
    "tests/stats/test_paired.py",
  ),
  "the step-mean forgets the steps": Mutation(
    "sdt/arms/planning.py",
    "return (steps_easy * method.lambda_A + steps_rest * method.lambda_B) / (steps_easy + "
    "steps_rest)",
    "return (method.lambda_A + method.lambda_B) / 2",
    "tests/arms/test_planning.py",
  ),
  "a class name can end the data of the review page": Mutation(
    "sdt/report/review_page.py",
    "return htmlsafe_json_dumps(data, dumps=lambda value: files.json_text(value, indent=None))",
    "return __import__('markupsafe').Markup(files.json_text(data, indent=None))",
    "tests/report/test_review_page.py",
  ),
  "a probability of the course stands in the next round": Mutation(
    "sdt/scores/dynamics.py",
    "course = course.at[places, round_number - 1]",
    "course = course.at[places, round_number]",
    "tests/scores/test_course.py",
  ),
  "the hash of a config has who is shown its figures": Mutation(
    "sdt/config/resolve.py",
    'if key.rule.get("is_unhashed"):',
    'if not key.rule.get("is_unhashed", True):',
    "tests/config/test_resolve.py",
  ),
  "a teacher is asked about another temperature than the student": Mutation(
    "sdt/losses.py",
    "log_softened = jax.nn.log_softmax(logits / scale, axis=-1)",
    "log_softened = jax.nn.log_softmax(logits, axis=-1)",
    "tests/engine/test_teacher.py",
  ),
  "the teacher of every seed is that of the first": Mutation(
    "sdt/engine/teacher.py",
    "dataclasses.replace(arrays, teacher=teacher.own, teaching=teaching)",
    "dataclasses.replace(arrays, teacher=jax.tree.map(lambda leaf: leaf[:1].repeat(len(leaf), 0), "
    "teacher.own), teaching=teaching)",
    "tests/engine/test_teacher.py",
  ),
  "a process tells its loggers only what it trains itself": Mutation(
    "sdt/run/loggers/feed.py",
    "new = rows if self._has_begun else",
    "new = rows if rows else",
    "tests/run/loggers/test_feed.py",
  ),
  "the error of a logger ends it without a word": Mutation(
    "sdt/run/loggers/feed.py",
    "except Exception as error:\n      self._tell(",
    "except Exception as error:\n      str(",
    "tests/run/loggers/test_feed.py",
  ),
}


def survives(mutation: Mutation, scratch: Path) -> bool:
  """Returns whether all of the mutation's tests pass in a copy of the project in which it
  is made.
  """
  copy = scratch / "copy"
  if copy.exists():
    shutil.rmtree(copy)
  copy.mkdir()
  for name in ("sdt", "tests", "configs"):
    shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
  for name in ("run.py", "pyproject.toml"):
    shutil.copy(ROOT / name, copy / name)
  path = copy / mutation.file
  text = path.read_text()
  if text.count(mutation.old) != 1:
    raise SystemExit(
      f"{mutation.file}: expected the line once, found it {text.count(mutation.old)} times: "
      f"{mutation.old}"
    )
  path.write_text(text.replace(mutation.old, mutation.new))
  command = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-x",
    "-o",
    f"cache_dir={scratch / 'cache'}",  # of all mutations: the programs that none of them changes
    *mutation.tests.split(),
  ]
  done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
  if done.returncode not in (0, 1):
    raise SystemExit(
      f"{mutation.tests}: pytest ended with {done.returncode}: {done.stdout[-2000:]}"
    )
  return done.returncode == 0


def main(names: list[str]) -> int:
  unknown = [name for name in names if name not in MUTATIONS]
  if unknown:
    raise SystemExit(f"no such mutation: {unknown}; there are {', '.join(map(repr, MUTATIONS))}")
  survivors = []
  with tempfile.TemporaryDirectory(prefix="sdt-mutations-") as scratch:
    for name in names or MUTATIONS:
      start = time.monotonic()
      survived = survives(MUTATIONS[name], Path(scratch))
      print(
        f"{'SURVIVED' if survived else 'caught'}  {name} ({time.monotonic() - start:.0f} s)",
        flush=True,
      )
      survivors += [name] if survived else []
  print(f"{len(names or MUTATIONS) - len(survivors)} of {len(names or MUTATIONS)} caught")
  return 1 if survivors else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
