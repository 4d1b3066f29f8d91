"""sdt: sample-differentiated training of image classifiers.

It trains on all examples, scores how well the network fits each of them, splits the set into the
easiest (A) and the rest (B), and trains again on A and B in alternation, with a stronger weight
decay on A. docs/architecture.md has the layers: a package imports only from those below its own.

From the paper to the code (docs/method.md says what to look at in each)::

  Algorithm 1, whole                   sdt.experiment.train_and_judge
  step 1: train on D                   sdt.stages.train.Trainings
  the trainings as data                sdt.arms.catalogue.ARMS
  from an arm to its phases            sdt.arms.planning.make_plan
  one optimiser step                   sdt.engine.step.train_step
  learning rate                        sdt.engine.schedule.learning_rates
  the decay chain of A and that of B   sdt.engine.optim.make_chain
  which of the two chains updates      sdt.engine.optim.apply_phase_chain
  step 2: score, as a stage            sdt.stages.score_and_split.score
  the paper's score                    sdt.scores.formulas.confidence
  the score that ranks by default      sdt.scores.formulas.log_odds
  scoring by `vmap` over the examples  sdt.engine.score_pass.score_dispatch
  step 3: split, as a stage            sdt.stages.score_and_split.split
  A and B by the scores                sdt.scores.split.split
  step 4: alternate on A and B         sdt.engine.scan.dispatch
  the batches of a phase               sdt.inputs.order.phase_batches
  evaluate                             sdt.engine.evaluate.batch_sums
  is it better?                        sdt.stats.comparison.compare
  paired tests with Holm's correction  sdt.stats.paired.contrasts

Source: Li et al., Journal of Software 33(12), 2022, Algorithm 1.
"""

import importlib

__version__ = "0.2.0"

__all__ = ["Fitted", "Run", "SdtClassifier", "compare", "fit", "load", "run"]

# What Python sees of a run: name -> its module, which is imported when it is first asked for. Until
# then `import sdt` loads neither JAX nor NumPy. __init__.pyi tells type checkers the same.
_FACES = {
  "compare": "sdt.trained.comparing",
  "fit": "sdt.api.fitting",
  "Fitted": "sdt.trained.fitted",
  "load": "sdt.trained.load",
  "Run": "sdt.trained.load",
  "SdtClassifier": "sdt.api.classifier",
}
# Its modules that it sees too. The package `run` can be called: see sdt/run/__init__.py.
_MODULES = ("errors", "run")


def __getattr__(name: str) -> object:
  if name in _MODULES:
    return importlib.import_module(f"sdt.{name}")
  if name not in _FACES:
    raise AttributeError(f"module 'sdt' has no attribute {name!r}")
  return getattr(importlib.import_module(_FACES[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *_FACES, *_MODULES})
