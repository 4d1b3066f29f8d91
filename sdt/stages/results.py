"""Writes what a run leaves behind (docs/design.md, "Artifacts of a run"): numbers in, files out,
nothing computed twice.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import files
from sdt.arms.catalogue import arm_specs
from sdt.config import Config, to_dict
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.engine.scan import Sums
from sdt.stats import paired
from sdt.stats.comparison import compare


def metrics_rows(
  plan: Plan,
  config: Config,
  learning_rates: np.ndarray,
  index: int,
  evaluated: bool,
  sums: Sums,
  steps_done: np.ndarray,
  seconds: float,
  is_regression: bool = False,
) -> list[dict[str, Any]]:
  """Returns the rows of one finished round: per seed, per phase.

  Args:
    plan: the arm's plan.
    config: for the seeds.
    learning_rates: [rounds].
    index: of the round, from 0.
    evaluated: whether the test set was evaluated at the end of the round.
    sums: of the round, leaves [R, ...].
    steps_done: [R] optimiser steps done at the end of the round or later; fewer than the round asks
      for where a replica was frozen.
    seconds: the round took, for all seeds together.
    is_regression: there are no classes, and so no accuracies.
  """
  rows = []
  share = seconds / plan.steps_per_round
  for replica, seed in enumerate(config.seeds):
    step = index * plan.steps_per_round
    for number, phase in enumerate(plan.phases):
      step += phase.num_steps
      is_last = number == len(plan.phases) - 1
      count = int(sums.train_count[replica, number])
      tests = int(sums.test_count[replica]) if is_last and evaluated else 0
      test_loss = float(sums.test_loss[replica]) / tests if tests else 0.0
      # A last update can be finite and still give a network whose outputs are not.
      diverged = int(steps_done[replica]) < step or not math.isfinite(test_loss)
      row = {
        "arm": plan.arm,
        "seed": seed,
        "round": index + 1,
        "phase": phase.name,
        "last_phase": is_last,
        "step": min(step, int(steps_done[replica])),
        "learning_rate": _short(learning_rates[index]),
        "weight_decay": _short(np.mean(phase.weight_decay[replica])),
        "train_loss": float(sums.train_loss[replica, number]) / count if count else None,
        "train_accuracy": int(sums.train_correct[replica, number]) / count
        if count and not is_regression
        else None,
        **_norms(sums, replica, number),
        "test_loss": test_loss if tests and not diverged else None,
        "test_accuracy": int(sums.test_correct[replica]) / tests
        if tests and not diverged and not is_regression
        else None,
        "seconds": round(share * phase.num_steps, 6),
      }
      overrides = {"overrides": dict(phase.overrides)} if phase.overrides else {}
      rows.append(row | overrides | ({"diverged": True} if diverged else {}))
  return rows


def _norms(sums: Sums, replica: int, phase: int) -> dict[str, Any]:
  """Returns what a row says of norms: means over the phase's steps, and the kernels' at its end;
  None for a phase that took no step.
  """
  steps, norms = (
    int(sums.num_steps[replica, phase]),
    sums.weight_norms[replica, phase].astype(np.float64),
  )
  ended = steps > 0 and norms.any()
  return {
    "gradient_norm": _short(sums.gradient_norm[replica, phase] / steps, 6) if steps else None,
    "update_norm": _short(sums.update_norm[replica, phase] / steps, 6) if steps else None,
    "weight_norm": _short(np.sqrt(np.square(norms).sum()), 6) if ended else None,
    "weight_norms": [_short(norm, 6) for norm in norms] if ended else None,
  }


def _short(value: Any, digits: int = 12) -> float:
  """Returns the float to so many digits: 0.01, where 0.1 * 0.1 is 0.010000000000000002."""
  return float(f"{float(value):.{digits}g}")


def diverged_seeds(rows: Iterable[Mapping[str, Any]], arm: str) -> tuple[int, ...]:
  """Returns the seeds whose training of `arm` was frozen, in the order of their first such row."""
  return tuple(
    dict.fromkeys(row["seed"] for row in rows if row["arm"] == arm and row.get("diverged"))
  )


def write_arm_ids(workdir: Path, data: Data, config: Config, plan: Plan) -> None:
  """Writes arms/<arm>.npz: the example ids [R, n] of each phase of its plan."""
  ids = {phase.name: data.train.example_ids[phase.example_ids] for phase in plan.phases}
  files.write_npz(
    workdir / "arms" / f"{plan.arm}.npz", seeds=np.asarray(config.seeds, np.int64), **ids
  )


def describe_data(data: Data) -> dict[str, Any]:
  """Returns the `data` entry of results.json. The statistics of vectors, which may have thousands
  of columns, are in model.safetensors.
  """
  return {
    "name": data.name,
    "variant": data.variant,
    "checksum": data.checksum,
    "num_train": len(data.train),
    "num_test": len(data.test),
    "num_classes": len(data.class_names),
    "class_names": data.class_names,
    "normalisation": {"mean": data.mean, "std": data.std} if data.train.inputs.ndim == 4 else None,
    "notes": data.notes,
  }


def _train_accuracy(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> float:
  """Returns the share of right answers over all phases of a round, from its rows; every example
  counts once.
  """
  if len(rows) == 1:
    return rows[0]["train_accuracy"]
  return sum(round(row["train_accuracy"] * sizes[row["phase"]]) for row in rows) / sum(
    sizes[row["phase"]] for row in rows
  )


def _arm_result(
  all_rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], sizes: Mapping[str, int]
) -> dict[str, Any]:
  """Returns the entry of one arm from its rows; `sizes` is what each phase sees in a round. A
  diverged seed has None everywhere.
  """
  accuracy, loss, train_accuracy, gap, fluctuation, best_round, best = (
    dict[int, Any].fromkeys(seeds) for _ in range(7)
  )
  rows = [row for row in all_rows if row["last_phase"]]
  diverged = diverged_seeds(all_rows, all_rows[0]["arm"])
  for seed in (seed for seed in seeds if seed not in diverged):
    own = [row for row in rows if row["seed"] == seed]
    last = own[-1]
    accuracy[seed], loss[seed] = last["test_accuracy"], last["test_loss"]
    train_accuracy[seed] = _train_accuracy(
      [row for row in all_rows if (row["seed"], row["round"]) == (seed, last["round"])], sizes
    )
    gap[seed], fluctuation[seed] = (
      train_accuracy[seed] - last["test_accuracy"],
      paired.fluctuation(own),
    )
    top = max(
      (row for row in own if row["test_accuracy"] is not None), key=lambda row: row["test_accuracy"]
    )
    best_round[seed], best[seed] = top["round"], top["test_accuracy"]
  return {
    "accuracy": accuracy,
    **paired.summary(accuracy.values()),
    "last_round": rows[-1]["round"],
    "best_round": best_round,
    "paper_protocol": best,
    "loss": loss,
    "train_accuracy": train_accuracy,
    "gap": paired.per_seed(gap),
    "fluctuation": paired.per_seed(fluctuation),
    "diverged": [seed for seed in seeds if seed in diverged],
  }


def write_results(
  workdir: Path,
  data: Data,
  config: Config,
  network: Mapping[str, Any],
  num_easy: int,
  plans: Mapping[str, Plan],
  recalibrated: Mapping[str, np.ndarray] = types.MappingProxyType({}),
  selected: Mapping[str, float] | None = None,
) -> Any:
  """Writes results.json from metrics.jsonl and returns its content.

  Args:
    workdir: of the run.
    data: the data set.
    config: for arms and seeds.
    network: `num_params`, and `layers`, the names of the kernels in the order of `weight_norms` in
      metrics.jsonl.
    num_easy: size of A.
    plans: of every arm.
    recalibrated: by arm, the test accuracy [R] with BatchNorm's statistics of the whole training
      set; nothing where there are none.
    selected: what a selection chose, by key.
  """
  rows, specs = files.read_rows(workdir / "metrics.jsonl"), arm_specs(config)
  arms = {}
  for arm in config.arms:
    sizes = {phase.name: phase.num_seen(config.batch_size) for phase in plans[arm].phases}
    arms[arm] = _arm_result([row for row in rows if row["arm"] == arm], config.seeds, sizes)
    arms[arm] |= {"asks": specs[arm].asks, "equal_work": specs[arm].equal_work}
    if arm in recalibrated:
      ended = zip(config.seeds, recalibrated[arm], strict=True)
      arms[arm]["recalibrated"] = paired.per_seed(
        {seed: None if seed in arms[arm]["diverged"] else float(one) for seed, one in ended}
      )
  accuracy = {arm: entry["accuracy"] for arm, entry in arms.items()}
  unequal = {arm for arm in arms if not specs[arm].equal_work}
  controls = {arm: control for arm in arms if (control := specs[arm].control)}
  results = {
    "data": describe_data(data),
    "model": {"name": config.model.name, **network},
    "seeds": config.seeds,
    "rounds": config.rounds,
    "num_easy": num_easy,
    "steps_per_round": {
      arm: {phase.name: phase.num_steps for phase in plan.phases} for arm, plan in plans.items()
    },
    **({"selection": {"chosen": dict(selected), "file": "selection.json"}} if selected else {}),
    "arms": arms,
    **compare(accuracy, config.stats.margin, unequal, controls=controls),
  }
  files.write_json(workdir / "results.json", results)
  return files.read_json(workdir / "results.json")


def write_model(
  workdir: Path,
  data: Data,
  config: Config,
  arm: str,
  params: Any,
  batch_stats: Any,
  pretrained_checksum: str | None = None,
) -> None:
  """Writes model.safetensors: the weights of the arm's first seed that did not diverge (of the
  first, if all did).

  Names are joined by "/"; the header holds arm, seed, config, class names and normalisation, no
  path, no time.

  Args:
    workdir: of the run, for which seeds diverged.
    data: for the class names and the normalisation.
    config: of the run.
    arm: whose network it is.
    params: leaves [R, ...].
    batch_stats: leaves [R, ...].
    pretrained_checksum: of the weights that the training began with, which stands in the header
      where the config has their path.
  """
  from safetensors.numpy import save

  lost = diverged_seeds(files.read_rows(workdir / "metrics.jsonl"), arm)
  index = next((index for index, seed in enumerate(config.seeds) if seed not in lost), 0)
  params, batch_stats = jax.tree.map(lambda leaf: leaf[index], (params, batch_stats))
  tensors = {
    "/".join(path): leaf
    for path, leaf in [*_leaves(params, ("params",)), *_leaves(batch_stats, ("batch_stats",))]
  }
  # Where the data lay says nothing about a network; which sizes its images had does.
  plain = to_dict(config)
  plain["data"] = {key: plain["data"][key] for key in ("name", "image_size", "resize", "crop_size")}
  plain["model"]["pretrained"] = pretrained_checksum
  normalisation = {"mean": data.mean, "std": data.std}
  header = {
    "arm": arm,
    "seed": str(config.seeds[index]),
    "diverged": str(config.seeds[index] in lost).lower(),
    "config": files.json_text(plain, indent=None),
    "class_names": files.json_text(data.class_names, indent=None),
    "normalisation": files.json_text(normalisation, indent=None),
  }
  files.write_bytes(workdir / "model.safetensors", _canonical(save(tensors, header)))


def _canonical(safetensors: bytes) -> bytes:
  """Returns the file with its metadata in sorted order: the library writes it in an order that
  changes from call to call.
  """
  end = 8 + int.from_bytes(safetensors[:8], "little")
  header = json.loads(safetensors[8:end])
  metadata = dict(sorted(header.pop("__metadata__").items()))
  text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
  return len(text).to_bytes(8, "little") + text + safetensors[end:]


def _leaves(tree: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], np.ndarray]]:
  if not isinstance(tree, Mapping):
    return [(path, np.ascontiguousarray(tree))]
  return [leaf for key in sorted(tree) for leaf in _leaves(tree[key], (*path, key))]
