"""Small files of a run: written atomically, sealed with a digest, verified when read; no JAX."""

from sdt.files.formats import (
  Arrays,
  append_rows,
  json_text,
  parse_json,
  parse_npz,
  read_json,
  read_npz,
  read_rows,
  sealed_json_text,
  truncate_rows,
  write_csv,
  write_json,
  write_npz,
  write_text,
)
from sdt.files.large_npz import NpzWriter, map_npz, writing_npz
from sdt.files.sealed import (
  is_intact,
  keep_if_not_ours,
  kept_files_told,
  map_bytes_verified,
  read_bytes_verified,
  remove,
  replacing,
  write_bytes,
)
from sdt.files.tensors import safetensors_bytes

__all__ = [
  "Arrays",
  "NpzWriter",
  "append_rows",
  "is_intact",
  "json_text",
  "keep_if_not_ours",
  "kept_files_told",
  "map_bytes_verified",
  "map_npz",
  "parse_json",
  "parse_npz",
  "read_bytes_verified",
  "read_json",
  "read_npz",
  "read_rows",
  "remove",
  "replacing",
  "safetensors_bytes",
  "sealed_json_text",
  "truncate_rows",
  "write_bytes",
  "write_csv",
  "write_json",
  "write_npz",
  "write_text",
  "writing_npz",
]
