"""The commands beside `train`, by the first word of the command line."""

from collections.abc import Mapping

# Name -> its module, which is imported when it is asked for, and what it does.
COMMANDS: Mapping[str, tuple[str, str]] = {
  "predict": ("sdt.commands.predict", "a table of classes for new images from a finished run"),
  "export": ("sdt.commands.export", "writes a network for other programs: StableHLO, ONNX, torch"),
}
