"""Compares the methods of a search on digits, at about equally many rounds of training.

    python benchmarks/search_methods.py [--folder=runs/search_methods] [--repeats=5]

Each repeat has a validation split and draws of its own (`data.split_seed`). A perceptron's learning
rate, momentum, decay, batch and width are searched, then three seeds are trained with the best. A
line of JSON for each search: what it chose, what that reached on the validation split and on the
test set, and how many rounds it trained. 160 rounds are eight trainings of 20.
"""

import argparse
import json
from pathlib import Path

import sdt
from sdt import files
from sdt.config import resolve
from sdt.run.search.trials import rounds_of

SPACE = (
  "optim.learning_rate = log(1e-3, 1)",
  "optim.momentum = uniform(0.5, 0.97)",
  "optim.weight_decay = log(1e-6, 1e-1)",
  "batch_size = choice(16, 64)",
  "model.hidden_sizes = choice((16,), (64,), (64, 64))",
)
METHODS = {
  "random": {"method": "random", "trials": 8},
  "bayes": {"method": "bayes", "trials": 8},
  "halving": {"method": "halving", "trials": 27, "min_rounds": 3},
}


def config(method, repeat):
  return {
    "data": {"name": "digits", "split_seed": repeat},
    "model": {"name": "mlp"},
    "seeds": (0, 1, 2),
    "rounds": 20,
    "optim": {"milestones": (10, 15)},
    "arms": ("baseline",),
    "select": {"space": SPACE, "num_seeds": 1, **METHODS[method]},
  }


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("--folder", type=Path, default=Path("runs/search_methods"))
  parser.add_argument("--repeats", type=int, default=5)
  arguments = parser.parse_args()
  for repeat in range(arguments.repeats):
    for method in METHODS:
      of, workdir = config(method, repeat), arguments.folder / f"{method}_{repeat}"
      run = sdt.run(of, workdir)
      found = files.read_json(workdir / "selection.json")
      line = {
        "method": method,
        "repeat": repeat,
        "rounds": rounds_of(resolve(of))["baseline"],
        "chosen": found["chosen"],
        "validation": found["baseline"]["mean"],
        "test": run.results["arms"]["baseline"]["mean"],
        "secs": files.read_json(workdir / "timing.json")["stages"]["select"],
      }
      print(json.dumps(line), flush=True)


if __name__ == "__main__":
  main()
