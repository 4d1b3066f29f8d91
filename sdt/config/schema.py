"""Every key of the configuration, in frozen dataclasses: its type, default, range and meaning."""

import dataclasses

from sdt.config.keys.acquire import AcquireConfig
from sdt.config.keys.data import CurveConfig, DataConfig, ShapesConfig
from sdt.config.keys.declare import config_key
from sdt.config.keys.distil import DISTIL, DistilConfig
from sdt.config.keys.evaluate import EvaluateConfig
from sdt.config.keys.machine import (
  CheckpointConfig,
  DistributedConfig,
  LogConfig,
  ParallelConfig,
)
from sdt.config.keys.method import (
  MethodConfig,
  ScoreConfig,
  SelectConfig,
  SplitConfig,
  StatsConfig,
  SweepConfig,
  ToyConfig,
)
from sdt.config.keys.semi import SemiConfig
from sdt.config.keys.training import (
  NEUTRAL,
  AugmentConfig,
  ModelConfig,
  MonitorConfig,
  OptimConfig,
  RegulariseConfig,
  StopConfig,
)

__all__ = [
  "DISTIL",
  "NEUTRAL",
  "AcquireConfig",
  "AugmentConfig",
  "CheckpointConfig",
  "Config",
  "CurveConfig",
  "DataConfig",
  "DistilConfig",
  "DistributedConfig",
  "EvaluateConfig",
  "LogConfig",
  "MethodConfig",
  "ModelConfig",
  "MonitorConfig",
  "OptimConfig",
  "ParallelConfig",
  "RegulariseConfig",
  "ScoreConfig",
  "SelectConfig",
  "SemiConfig",
  "ShapesConfig",
  "SplitConfig",
  "StatsConfig",
  "StopConfig",
  "SweepConfig",
  "ToyConfig",
]


@dataclasses.dataclass(frozen=True)
class Config:
  """The whole configuration of a run."""

  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  seeds: tuple[int, ...] = config_key(
    (0, 1), "one whole pipeline per seed", low=0, high=2**31 - 1, min_length=1, unique=True
  )
  rounds: int = config_key(300, "rounds of every training", low=1)
  batch_size: int = config_key(
    128,
    "examples per optimiser step; auto: the nearest number at which no part of the training set "
    "ends with a small batch",
    low=1,
    high=2**17,
    word=("auto", "fit_batch"),
  )
  fit_batch: bool = config_key(
    False,
    "whether batch_size may be moved to the nearest number at which no part of the training set "
    "ends with a small batch; what batch_size=auto means",
    is_later=True,
  )
  eval_every_rounds: int = config_key(
    1, "rounds between test evaluations; the last round is always evaluated", low=1
  )
  log_every_rounds: int = config_key(
    1,
    "rounds between rows of metrics.jsonl; evaluated rounds and the last always get a row",
    low=1,
  )
  augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
  optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
  method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
  select: SelectConfig = dataclasses.field(default_factory=SelectConfig)
  regularise: RegulariseConfig = dataclasses.field(default_factory=RegulariseConfig)
  semi: SemiConfig = dataclasses.field(default_factory=SemiConfig)
  distil: DistilConfig = dataclasses.field(default_factory=DistilConfig)
  acquire: AcquireConfig = dataclasses.field(default_factory=AcquireConfig)
  stop: StopConfig = dataclasses.field(default_factory=StopConfig)
  monitor: MonitorConfig = dataclasses.field(default_factory=MonitorConfig)
  evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
  score: ScoreConfig = dataclasses.field(default_factory=ScoreConfig)
  split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
  toy: ToyConfig = dataclasses.field(default_factory=ToyConfig)
  arms: tuple[str, ...] = config_key(
    ("baseline", "method"),
    "the trainings to compare; the message about a wrong name lists all arms",
    min_length=1,
    unique=True,
  )
  own_arms: tuple[str, ...] = config_key(
    (),
    "further arms that `arms` may name: 'NAME = SUBSET@DECAY + SUBSET@DECAY [against ARM]', such "
    "as 'gentle = A@5e-4 + B@lambda_B'",
    unique=True,
  )
  everywhere: tuple[str, ...] = config_key(
    (),
    "regularisers of all phases of all arms, the baseline too, such as 'dropout=0.3'; a value that "
    "a phase itself names wins",
    unique=True,
  )
  precision: str = config_key(
    "auto",
    "auto: float32 on CPU, bfloat16 compute elsewhere",
    choices=("auto", "float32", "bfloat16"),
  )
  compilation_cache: bool = config_key(True, "keep compiled programs in the user's cache directory")
  parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig)
  distributed: DistributedConfig = dataclasses.field(default_factory=DistributedConfig)
  checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
  log: LogConfig = dataclasses.field(default_factory=LogConfig)
  stats: StatsConfig = dataclasses.field(default_factory=StatsConfig)
  sweep: SweepConfig = dataclasses.field(default_factory=SweepConfig)
  baseline_from: str | None = config_key(
    None,
    "workdir of a finished run: its baseline and scores are copied, not trained again",
  )
