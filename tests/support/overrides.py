"""Overrides of a config, written in one line as on the command line."""


def overrides_of(line: str) -> list[tuple[str, str]]:
  """Returns (key, text) of each "key=text" of a line; a space begins the next where a key follows
  it.
  """
  parts = line.split(" ") if line.count("=") > 1 else [line]
  return [(name, text) for name, _, text in (part.partition("=") for part in parts)]
