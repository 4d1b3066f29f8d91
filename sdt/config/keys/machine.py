"""The keys of the machine: devices, processes, checkpoints, and programs that show a run."""

import dataclasses

from sdt.config.keys.declare import config_key


@dataclasses.dataclass(frozen=True)
class ParallelConfig:
  """How the devices share the work."""

  mode: str = config_key("jit", "data parallelism", choices=("jit", "pmap"))
  num_devices: int | None = config_key(None, "devices to use; all of them by default", low=1)
  batch_norm: str = config_key(
    "global",
    "BatchNorm's statistics in training: of the whole batch, or of each device's part of it (the "
    "results then depend on num_devices)",
    choices=("global", "device"),
  )
  divide: str = config_key(
    "batch",
    "what several devices share: every batch, or the seeds (each device trains some of them)",
    choices=("batch", "seeds"),
  )
  replicas: str = config_key(
    "auto", "how the seeds share a program", choices=("auto", "unroll", "loop", "vmap")
  )
  steps_per_dispatch: int | None = config_key(
    None, "optimiser steps per call into the compiled program; chosen by default", low=1
  )
  compiler_options: str | None = config_key(
    None,
    "options of XLA for the programs of this run: NAME=VALUE, separated by spaces; they can change "
    "bits",
  )


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
  """Several processes of one run, docs/clusters.md."""

  join: str = config_key(
    "auto",
    "whether this is one of several processes; auto: where it was started as one",
    choices=("auto", "on", "off"),
  )
  connect_timeout_secs: int = config_key(
    300, "how long to wait for all of them at the start", low=1, high=86_400
  )
  heartbeat_timeout_secs: int = config_key(
    100, "seconds of silence of one process after which the others end too", low=1, high=86_400
  )


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """When the state is saved, and how many saves are kept."""

  every_secs: float | None = config_key(
    None, "seconds between saves; from the measured save cost by default", above=0.0, high=604_800.0
  )
  keep: int = config_key(2, "newest saves to keep", low=2)


@dataclasses.dataclass(frozen=True)
class LogConfig:
  """The programs that show the rows of metrics.jsonl beside the report, docs/usage.md."""

  tensorboard: bool = config_key(
    False,
    "write the figures of every round for TensorBoard too, into WORKDIR/tensorboard; needs the "
    "extra tensorboard",
    is_later=True,
    is_unhashed=True,
  )
  wandb: bool = config_key(
    False,
    "send them to Weights & Biases too, as WANDB_MODE and WANDB_PROJECT say; needs the extra wandb",
    is_later=True,
    is_unhashed=True,
  )
  mlflow: bool = config_key(
    False,
    "send them to MLflow too, where MLFLOW_TRACKING_URI says, by default into WORKDIR/mlruns; "
    "needs the extra mlflow",
    is_later=True,
    is_unhashed=True,
  )
