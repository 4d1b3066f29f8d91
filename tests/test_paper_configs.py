"""The paper's 19 rows: every config file is its row, and docs/results/paper.md has the paper's
numbers.
"""

import re

import pytest

from sdt.config import Config, to_dict
from sdt.data.published.catalogue import SIZES as SIZES_OF
from sdt.models import count_params, make_model
from sdt.models.registry import multiply_adds
from tests.models.test_counts import PROJECTION, SIZES
from tests.support.paper_rows import (
  FOLDER,
  ROWS,
  SETS,
  config_of,
  each_row,
  note_of,
  steps_of,
)
from tests.support.places import ROOT

PAGE = ROOT / "docs/results/paper.md"


def test_there_is_a_config_file_for_every_row_and_no_other():
  assert len(ROWS) == 19
  assert sorted(path.stem for path in FOLDER.iterdir() if path.suffix == ".py") == sorted(
    row.stem for row in ROWS
  )


def test_the_defaults_are_the_papers_protocol():
  config = Config()
  assert (config.rounds, config.batch_size, config.optim.name) == (300, 128, "sgd")
  optim = config.optim
  assert (optim.learning_rate, optim.schedule, optim.milestones, optim.decay_factor) == (
    0.1,
    "step",
    (150, 225),
    0.1,
  )
  assert (
    optim.momentum,
    optim.nesterov,
    optim.weight_decay,
    optim.decay_form,
    optim.decay_what,
  ) == (0.9, False, 1e-4, "coupled", "all")
  method = config.method
  assert (method.fraction, method.lambda_B, method.init, method.order) == (
    0.1,
    1e-4,
    "scratch",
    "easy_first",
  )
  assert (config.score.name, config.split.policy, config.arms) == (
    "log_odds",
    "top",
    ("baseline", "method"),
  )


@each_row
def test_a_config_is_its_row_and_differs_from_the_protocol_in_nothing_else(row):
  wanted = {
    "data.name": row.data,
    "seeds": [0, 1, 2],
    "model.name": row.network,
    "batch_size": row.batch_size,
    "method.lambda_A": float(row.best),
  }
  wanted |= SETS[row.data][3] | row.keys
  wanted["split.class_balanced"] = False  # the default of the published sets
  plain = to_dict(Config())
  for key, value in wanted.items():
    section = plain
    *path, last = key.split(".")
    for name in path:
      section = section[name]
    section[last] = value
  assert to_dict(config_of(row)) == plain
  assert row.methods[row.best] == max(row.methods.values())


@each_row
def test_a_config_files_note_has_the_rows_numbers_and_command(row):
  note = note_of(row)
  for part in (
    f"lambda_A {row.best}: in the paper {row.baseline:.2f} % (baseline), "
    f"{row.methods[row.best]:.2f} % (method).",
  ):
    assert part in note
  assert f"python run.py --config=configs/paper/{row.stem}.py" in note
  for decay, accuracy in row.methods.items():
    assert decay == row.best or f"{decay} ({accuracy:.2f} %)" in note
  values = re.search(r"--config.sweep.key=method.lambda_A --config.sweep.values=(\S+)", note)
  assert set(row.methods) - (set(values[1].split(",")) if values else set()) <= (
    {row.best} if len(row.methods) == 1 else set()
  )
  every, easy, rest = steps_of(row)
  assert f"{every} steps a round for the baseline, {easy} + {rest} for the method" in note
  assert "Accuracy here: not yet measured" in note
  millions = f"{row.millions:.1f}" if row.millions < 500 else f"{row.millions:,}"
  assert f"{row.num_params:,} parameters, {millions} M multiply-adds an image" in note


@each_row
def test_a_rows_network_is_one_whose_published_size_is_tested(row):
  """Without tracing the network once more: test_model_counts.py compares its table with the
  networks themselves.
  """
  keys = {
    key.removeprefix("model."): value for key, value in row.keys.items() if key.startswith("model.")
  } or PROJECTION
  sizes = {(name, tuple(given.items())): counts for name, given, counts, _ in SIZES}
  counts = sizes.get((row.network, tuple(keys.items()))) or sizes[row.network, ()]
  assert counts[SETS[row.data][1]] == row.num_params


@pytest.mark.slow
@each_row
def test_a_configs_network_has_the_size_that_its_note_tells(row):
  _, num_classes, size, _ = SETS[row.data]
  model = make_model(config_of(row).model, num_classes)
  assert count_params(model, (size, size, 3)) == row.num_params
  assert (
    round(multiply_adds(model, (size, size, 3)) / 1e6, 1 if row.millions < 500 else 0)
    == row.millions
  )


def tables(page: str) -> list[list[list[str]]]:
  """Returns the tables of a page: their rows, without the heads, as lists of cells."""
  blocks = re.findall(r"^\|.*(?:\n\|.*)+", page, re.MULTILINE)
  return [
    [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")[2:]]
    for block in blocks
  ]


def test_the_page_has_exactly_the_papers_rows_and_numbers():
  names = {
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny-ImageNet",
    "cub": "CUB-200-2011",
  }
  wanted = [
    [
      names[row.data],
      f"[{row.called}](../../configs/paper/{row.stem}.py)",
      f"{row.baseline:.2f}",
      decay,
      f"{accuracy:.2f}",
    ]
    for row in ROWS
    for decay, accuracy in row.methods.items()
  ]
  rows = tables(PAGE.read_text(encoding="utf-8"))[0]
  assert [line[:5] for line in rows] == wanted
  for line in rows:
    baseline, method, num_seeds = line[5:]
    measured = r"\d\d\.\d\d \+- \d\.\d\d"
    if num_seeds == "0":
      assert (baseline, method) == ("not measured", "not measured")
    else:
      assert int(num_seeds) > 1
      assert re.fullmatch(measured, baseline)
      assert re.fullmatch(measured, method)


def test_the_pages_dry_runs_have_every_rows_sizes_and_steps():
  rows = tables(PAGE.read_text(encoding="utf-8"))[1]
  wanted = []
  for row in ROWS:
    every, easy, rest = steps_of(row)
    millions = f"{row.millions:.1f}" if row.millions < 500 else f"{row.millions:,}"
    wanted.append([f"`{row.stem}`", f"{row.num_params:,}", millions, f"{every} / {easy} + {rest}"])
  assert [line[:4] for line in rows] == wanted
  for row, line in zip(ROWS, rows, strict=True):
    sizes = SIZES_OF[row.data]
    side = 384 if row.data == "cub" else SETS[row.data][2]
    # Images, and 12 bytes for the label and the size of each; two networks with gradient, momentum
    # and a copy.
    assert line[4] == f"{(sizes.num_train + sizes.num_test) * (side * side * 3 + 12) / 1e6:,.0f}"
    assert line[5] == f"{2 * 4 * 4 * row.num_params / 1e6:,.0f}"
    assert all(re.fullmatch(r"[\d,]+", cell) for cell in line[6:])


def test_probable_misprints_are_named_where_the_numbers_stand():
  page = " ".join(PAGE.read_text(encoding="utf-8").split())
  assert "probably a misprint of 95.81" in note_of(ROWS[0])
  assert "probably a misprint of 1.8e-3" in note_of(ROWS[7])
  assert "95.81" in page
  assert "1.8e-3" in page
  assert "76.58" in note_of(ROWS[-1])
  assert "From scratch 52 to 67 % is normal" in note_of(ROWS[-1])
