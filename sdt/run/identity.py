"""What a run is a run of: config, data and files. Sealed in every checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdt.config import Config, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, diff
from sdt.data.dataset import Data
from sdt.errors import ConfigError, DataError
from sdt.run.load_inputs import Beside

# Files whose checksums stand there only where a config names them: without one there is none.
_OF_LABELS = ("data.labels_file", "data.corrections", "data.corrections_test")


@dataclasses.dataclass(frozen=True)
class Identity:
  """What a run is a run of. Sealed in every checkpoint.

  Attributes:
    config: as plain values.
    data_checksum: of its data; empty where they are not there.
    file_checksums: SHA-256 of every file beside the data that the config may name, by its key,
      "none" without one; a key that is not there is not known, or is one of `_OF_LABELS` that the
      config does not name.
  """

  config: dict[str, Any]
  data_checksum: str
  file_checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @classmethod
  def of(cls, config: Config, data: Data, beside: Beside) -> Identity:
    """Returns the identity of a run, from what `sdt.run.load_inputs` accepted."""
    return cls(to_dict(config), data.checksum, {**beside.checksums, **data.label_checksums})

  def is_other_data(self, checksum: str | None) -> bool:
    """Returns whether `checksum` is of other data; an unknown checksum is not."""
    return bool(checksum and self.data_checksum) and checksum != self.data_checksum

  def refuse_other(
    self,
    config: dict[str, Any],
    data_checksum: str | None,
    where: Path,
    file_checksums: Mapping[str, str],
  ) -> None:
    """Refuses to continue at `where` what another config, other data or other files began.

    A checksum of None is not known, and not compared.

    Raises:
      ConfigError: names every key that differs. DataError: the data or a file differs.
    """
    changes = diff(config, self.config, ignore=SAFE_TO_CHANGE)
    if changes:
      raise ConfigError(
        f"{where} holds a run of another config ({'; '.join(changes)}); use that config again or "
        "choose another --workdir"
      )
    absent = dict.fromkeys(_OF_LABELS, "none") if file_checksums else {}
    others = self.other_files({**absent, **file_checksums})
    if others:
      raise DataError(
        f"{where} holds a run with {'; '.join(others)}; restore that file or choose another "
        "--workdir"
      )
    if self.is_other_data(data_checksum):
      raise DataError(
        f"{where} holds a run on other data (checksum {data_checksum}, now {self.data_checksum}); "
        "restore that data or choose another --workdir"
      )

  def other_files(self, checksums: Mapping[str, str]) -> list[str]:
    """Returns "another KEY (...)" for every file whose known checksums differ."""
    absent = dict.fromkeys(_OF_LABELS, "none") if self.data_checksum else {}
    now = {**absent, **self.file_checksums}
    both = [key for key in checksums if key in now and checksums[key] != now[key]]
    return [f"another {key} (SHA-256 {checksums[key]}, now {now[key]})" for key in both]
