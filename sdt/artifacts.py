"""Writes what a run leaves behind (docs/design.md, "Artifacts of a run"): numbers in, files out, nothing computed twice."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sdt import files, stats
from sdt.arms import arm_specs
from sdt.comparison import compare
from sdt.config import Config, to_dict
from sdt.data.augment import centre_crop
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.plan import Plan
from sdt.score import SCORERS
from sdt.split import Partition, rank
from sdt.train import Sums

_MOSAIC_TILES = 100


def metrics_rows(
  plan: Plan,
  config: Config,
  learning_rates: np.ndarray,
  index: int,
  evaluated: bool,
  sums: Sums,
  steps_done: np.ndarray,
  seconds: float,
) -> list[dict[str, Any]]:
  """Returns the rows of one finished round: per seed, per phase.

  Args:
    plan: the arm's plan.
    config: for the seeds.
    learning_rates: [rounds].
    index: of the round, from 0.
    evaluated: whether the test set was evaluated at the end of the round.
    sums: of the round, leaves [R, ...].
    steps_done: [R] optimiser steps done at the end of the round or later; fewer than the round asks for where a replica was frozen.
    seconds: the round took, for all seeds together.
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
        "train_accuracy": int(sums.train_correct[replica, number]) / count if count else None,
        "test_loss": test_loss if tests and not diverged else None,
        "test_accuracy": int(sums.test_correct[replica]) / tests if tests and not diverged else None,
        "seconds": round(share * phase.num_steps, 6),
      }
      rows.append(row | ({"diverged": True} if diverged else {}))
  return rows


def _short(value: Any) -> float:
  """Returns the float to 12 digits: 0.01, where 0.1 * 0.1 is 0.010000000000000002."""
  return float(f"{float(value):.12g}")


def diverged_seeds(rows: Iterable[Mapping[str, Any]], arm: str) -> tuple[int, ...]:
  """Returns the seeds whose training of `arm` was frozen, in the order of their first such row."""
  return tuple(dict.fromkeys(row["seed"] for row in rows if row["arm"] == arm and row.get("diverged")))


def without_nan(name: str, scores: np.ndarray) -> np.ndarray:
  """Returns the scores with the hardest value that scorer `name` has in the place of NaN, which a diverged network may give."""
  low, high = SCORERS[name].range
  if SCORERS[name].is_higher_easier:
    hardest = -np.inf if low is None else low
  else:
    hardest = np.inf if high is None else high
  return np.where(np.isnan(scores), hardest, scores).astype(scores.dtype)


def easiness(name: str, scores: np.ndarray) -> np.ndarray:
  """Returns the scores turned so that larger is easier, without NaN: what examples are ranked by."""
  values = without_nan(name, scores)
  return values if SCORERS[name].is_higher_easier else -values


def mean_score(name: str, scores: np.ndarray, sound: np.ndarray) -> np.ndarray:
  """Returns the mean score [N] over the seeds that are `sound` [R]; over all of them where none is."""
  with np.errstate(invalid="ignore", over="ignore"):  # what a diverged network gives may be infinite
    mean = (without_nan(name, scores)[sound] if sound.any() else without_nan(name, scores)).mean(axis=0)
  return without_nan(name, mean)


def write_scores(
  workdir: Path, data: Data, config: Config, scores: Mapping[str, np.ndarray], partitions: Sequence[Partition], sound: np.ndarray
) -> None:
  """Writes scores.csv, scores.json and, last, scores.npz, whose presence says that the stage is done.

  Args:
    workdir: of the run.
    data: for ids, labels, source files and, where it is known, the truth about the examples.
    config: for the seeds.
    scores: name -> [R, N].
    partitions: per seed.
    sound: [R] bool, False for a seed whose network diverged: its scores are listed, but no mean counts them.
  """
  train = data.train
  known = {name: value for name in ("difficulty", "wrong_label") if (value := getattr(train, name)) is not None}
  header = ["example_id", "source_file", "label", *known]
  columns: list[Any] = [train.example_ids, train.source_files or [""] * len(train), train.labels, *(_as_cells(v) for v in known.values())]
  described = {}
  for name, values in scores.items():
    header += [name, *(f"{name}_seed{seed}" for seed in config.seeds)]
    columns += [mean_score(name, values, sound), *values]
    scorer = SCORERS[name]
    counted = (values[sound] if sound.any() else values).astype(np.float64)
    with np.errstate(invalid="ignore"):
      described[name] = {"direction": scorer.direction, "range": scorer.range, "mean": counted.mean(), "sd": counted.std()}
  files.write_csv(workdir / "scores.csv", header, zip(*columns, strict=True))
  ties = {seed: part.ties_at_cut for seed, part in zip(config.seeds, partitions, strict=True)}
  stability = score_stability(easiness(config.score.name, scores[config.score.name]), partitions)
  content: dict[str, Any] = {"ranked_by": config.score.name, "scorers": described, "ties_at_cut": ties, "stability": stability}
  truth = score_truth(train, scores, partitions, config.seeds, sound)
  if truth is not None:
    content["truth"] = truth
  files.write_json(workdir / "scores.json", content)
  seeds = np.asarray(config.seeds, np.int64)
  files.write_npz(workdir / "scores.npz", example_id=train.example_ids, label=train.labels, seeds=seeds, **known, **scores)


def _as_cells(values: np.ndarray) -> np.ndarray:
  """Returns the column of a table: 0 and 1 for what is or is not."""
  return values.astype(np.int8) if values.dtype == np.bool_ else values


def score_stability(scores: np.ndarray, partitions: Sequence[Partition]) -> dict[str, Any] | None:
  """Returns how far the seeds agree: Spearman's correlation of the scores [R, N] and |A_i & A_j| / |A|; None for one seed."""
  from scipy.stats import rankdata

  if len(scores) < 2:
    return None
  ranks = rankdata(scores, axis=1)
  with np.errstate(invalid="ignore", divide="ignore"):  # constant scores have no correlation: NaN, written as null
    spearman = np.corrcoef(ranks)
  in_easy = np.zeros(scores.shape, bool)
  for row, part in zip(in_easy, partitions, strict=True):
    row[part.easy] = True
  overlap = (in_easy[:, None] & in_easy[None]).sum(axis=2) / in_easy[0].sum()
  pairs = np.triu_indices(len(scores), 1)
  return {
    "spearman": spearman,
    "overlap_of_A": overlap,
    "mean_spearman": spearman[pairs].mean(),
    "mean_overlap_of_A": overlap[pairs].mean(),
  }


def score_truth(
  train: Dataset, scores: Mapping[str, np.ndarray], partitions: Sequence[Partition], seeds: Sequence[int], sound: np.ndarray
) -> dict[str, Any] | None:
  """Returns how well the scores [R, N] know the truth about the examples, None where none is known.

  auroc_wrong_label: per scorer the area under the ROC curve of "low score" as the sign of a wrong label; 1 is perfect, 0.5 is chance.
  spearman_difficulty: per scorer Spearman's correlation of the score with minus the difficulty; 1 is perfect.
  Both are means over the seeds that are `sound` [R] (over all of them where none is), None where they are not defined.
  wrong_labels_in_A: per seed the share of A, in [0, 1], whose label is wrong, None where it is not known.
  """
  from scipy.stats import rankdata
  from sklearn.metrics import roc_auc_score

  wrong, difficulty = train.wrong_label, train.difficulty
  if wrong is None and difficulty is None:
    return None
  truth: dict[str, Any] = {"auroc_wrong_label": dict.fromkeys(scores), "wrong_labels_in_A": dict.fromkeys(seeds)}
  truth["spearman_difficulty"] = dict.fromkeys(scores)
  for name, values in scores.items():
    ranks = rankdata(easiness(name, values)[sound] if sound.any() else easiness(name, values), axis=1)  # infinities in order
    if wrong is not None and wrong.any() and not wrong.all():
      truth["auroc_wrong_label"][name] = float(np.mean([roc_auc_score(wrong, -row) for row in ranks]))
    if difficulty is not None:
      ease = rankdata(-difficulty)
      with np.errstate(invalid="ignore", divide="ignore"):  # constants have no correlation: NaN, written as null
        truth["spearman_difficulty"][name] = float(np.mean([np.corrcoef(row, ease)[0, 1] for row in ranks]))
  if wrong is not None:
    truth["wrong_labels_in_A"] = {seed: float(wrong[part.easy].mean()) for seed, part in zip(seeds, partitions, strict=True)}
  return truth


def write_split(workdir: Path, data: Data, config: Config, partitions: Sequence[Partition], by_mean: Partition) -> None:
  """Writes split.csv: the subset of every example by the mean score, and for each seed."""
  columns = []
  for part in (by_mean, *partitions):
    subset = np.full(len(data.train), "B")
    subset[part.easy] = "A"
    columns.append(subset)
  header = ["example_id", "label", "subset", *(f"subset_seed{seed}" for seed in config.seeds)]
  files.write_csv(workdir / "split.csv", header, zip(data.train.example_ids, data.train.labels, *columns, strict=True))


def write_arm_ids(workdir: Path, data: Data, config: Config, plan: Plan) -> None:
  """Writes arms/<arm>.npz: the example ids [R, n] of each phase of its plan."""
  ids = {phase.name: data.train.example_ids[phase.example_ids] for phase in plan.phases}
  files.write_npz(workdir / "arms" / f"{plan.arm}.npz", seeds=np.asarray(config.seeds, np.int64), **ids)


def write_mosaics(workdir: Path, data: Data, config: Config, confidence: np.ndarray, ranking: np.ndarray, partition: Partition) -> None:
  """Writes figures/mosaics.npz for the first seed: A's highest scores (lowest for the policy "bottom"), and a seeded random draw of B.

  Args:
    workdir: of the run.
    data: for images, ids and labels.
    config: for the policy and the first seed.
    confidence: [N] of the first seed.
    ranking: [N], the scores that the first seed's A was split by.
    partition: of the first seed.
  """
  if data.train.inputs.ndim != 4:
    return
  order = rank(-ranking if config.split.policy == "bottom" else ranking, data.train.example_ids, config.seeds[0])
  easiest = order[np.isin(order, partition.easy)][:_MOSAIC_TILES]
  draw = np.random.default_rng([config.seeds[0], 0x305A]).permutation(partition.rest)[:_MOSAIC_TILES]
  sizes = image_sizes(data.train)
  content: dict[str, Any] = {}
  for name, positions in (("easiest", easiest), ("other", draw)):
    content[f"{name}_images"] = np.asarray(centre_crop(data.train.inputs[positions], sizes[positions], config.data.crop_size))
    content[f"{name}_ids"] = data.train.example_ids[positions]
    content[f"{name}_labels"] = data.train.labels[positions]
    content[f"{name}_confidence"] = confidence[positions]
  files.write_npz(workdir / "figures" / "mosaics.npz", class_names=np.asarray(data.class_names), **content)


def describe_data(data: Data) -> dict[str, Any]:
  """Returns the `data` entry of results.json. The statistics of vectors, which may have thousands of columns, are in model.safetensors."""
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
  """Returns the share of right answers over all phases of a round, from its rows; every example counts once."""
  if len(rows) == 1:
    return rows[0]["train_accuracy"]
  return sum(round(row["train_accuracy"] * sizes[row["phase"]]) for row in rows) / sum(sizes[row["phase"]] for row in rows)


def _arm_result(all_rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], sizes: Mapping[str, int]) -> dict[str, Any]:
  """Returns the entry of one arm from its rows; `sizes` is what each phase sees in a round. A diverged seed has None everywhere."""
  accuracy, loss, train_accuracy, gap, fluctuation, best_round, best = (dict[int, Any].fromkeys(seeds) for _ in range(7))
  rows = [row for row in all_rows if row["last_phase"]]
  diverged = diverged_seeds(all_rows, all_rows[0]["arm"])
  for seed in (seed for seed in seeds if seed not in diverged):
    own = [row for row in rows if row["seed"] == seed]
    last = own[-1]
    accuracy[seed], loss[seed] = last["test_accuracy"], last["test_loss"]
    train_accuracy[seed] = _train_accuracy([row for row in all_rows if (row["seed"], row["round"]) == (seed, last["round"])], sizes)
    gap[seed], fluctuation[seed] = train_accuracy[seed] - last["test_accuracy"], stats.fluctuation(own)
    top = max((row for row in own if row["test_accuracy"] is not None), key=lambda row: row["test_accuracy"])
    best_round[seed], best[seed] = top["round"], top["test_accuracy"]
  return {
    "accuracy": accuracy,
    **stats.summary(accuracy.values()),
    "last_round": rows[-1]["round"],
    "best_round": best_round,
    "paper_protocol": best,
    "loss": loss,
    "train_accuracy": train_accuracy,
    "gap": stats.per_seed(gap),
    "fluctuation": stats.per_seed(fluctuation),
    "diverged": [seed for seed in seeds if seed in diverged],
  }


def write_results(workdir: Path, data: Data, config: Config, num_params: int, num_easy: int, plans: Mapping[str, Plan]) -> Any:
  """Writes results.json from metrics.jsonl and returns its content.

  Args:
    workdir: of the run.
    data: the data set.
    config: for arms and seeds.
    num_params: of the network.
    num_easy: size of A.
    plans: of every arm.
  """
  rows, specs = files.read_rows(workdir / "metrics.jsonl"), arm_specs(config)
  arms = {}
  for arm in config.arms:
    sizes = {phase.name: phase.num_seen(config.batch_size) for phase in plans[arm].phases}
    arms[arm] = _arm_result([row for row in rows if row["arm"] == arm], config.seeds, sizes)
    arms[arm] |= {"asks": specs[arm].asks, "equal_work": specs[arm].equal_work}
  accuracy = {arm: entry["accuracy"] for arm, entry in arms.items()}
  unequal = {arm for arm in arms if not specs[arm].equal_work}
  results = {
    "data": describe_data(data),
    "model": {"name": config.model.name, "num_params": num_params},
    "seeds": config.seeds,
    "rounds": config.rounds,
    "num_easy": num_easy,
    "steps_per_round": {arm: {phase.name: phase.num_steps for phase in plan.phases} for arm, plan in plans.items()},
    "arms": arms,
    **compare(accuracy, config.stats.margin, unequal),
  }
  files.write_json(workdir / "results.json", results)
  return files.read_json(workdir / "results.json")


def write_model(
  workdir: Path, data: Data, config: Config, arm: str, params: Any, batch_stats: Any, pretrained_checksum: str | None = None
) -> None:
  """Writes model.safetensors: the weights of the arm's first seed that did not diverge (of the first, if all did).

  Names are joined by "/"; the header holds arm, seed, config, class names and normalisation, no path, no time.

  Args:
    workdir: of the run, for which seeds diverged.
    data: for the class names and the normalisation.
    config: of the run.
    arm: whose network it is.
    params: leaves [R, ...].
    batch_stats: leaves [R, ...].
    pretrained_checksum: of the weights that the training began with, which stands in the header where the config has their path.
  """
  from safetensors.numpy import save

  lost = diverged_seeds(files.read_rows(workdir / "metrics.jsonl"), arm)
  index = next((index for index, seed in enumerate(config.seeds) if seed not in lost), 0)
  params, batch_stats = jax.tree.map(lambda leaf: leaf[index], (params, batch_stats))
  tensors = {"/".join(path): leaf for path, leaf in [*_leaves(params, ("params",)), *_leaves(batch_stats, ("batch_stats",))]}
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
  """Returns the file with its metadata in sorted order: the library writes it in an order that changes from call to call."""
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
