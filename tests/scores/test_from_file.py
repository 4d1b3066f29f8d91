"""Scores from a file: joined by id or refused with the ids; a run that ranks by them."""

import csv
import dataclasses
import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt import experiment, files
from sdt.commands import dry_run
from sdt.config.score_names import SCORES
from sdt.errors import ConfigError, DataError
from sdt.scores import from_file
from sdt.stages import score_files
from tests.support import tiny, whole

IDS = np.array([4, 7, 11], np.int32)


def write(path, text):
  path.write_text(text)
  return path


def test_a_hand_made_table_is_joined_by_id_and_other_rows_and_columns_are_left(tmp_path):
  path = write(
    tmp_path / "a.csv", "note, ease ,example_id\nx,1.5,11\n\ny,-2e1,4\nz,.5,7\nw,oops,99\n"
  )
  got = from_file.load(path, "ease", IDS)
  np.testing.assert_array_equal(got.values, [-20.0, 0.5, 1.5])
  assert got.values.dtype == np.float64
  assert got.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
  assert got.num_unused == 1


@given(order=st.permutations(range(6)), extra=st.integers(0, 3), seed=st.integers(0, 99))
def test_any_order_of_the_rows_gives_the_scores_of_the_ids(tmp_path_factory, order, extra, seed):
  rng = np.random.default_rng(seed)
  ids = np.sort(rng.choice(50, 6 + extra, replace=False))
  by_id = dict(zip(ids.tolist(), rng.normal(size=len(ids)).tolist(), strict=True))
  wanted = ids[:6]
  shuffled = [*(int(wanted[index]) for index in order), *(int(one) for one in ids[6:])]
  folder = tmp_path_factory.mktemp("scores")
  np.savez(
    folder / "a.npz",
    example_id=np.array(shuffled),
    score=np.array([by_id[one] for one in shuffled]),
  )
  write(
    folder / "a.csv", "example_id,score\n" + "".join(f"{one},{by_id[one]!r}\n" for one in shuffled)
  )
  for name in ("a.npz", "a.csv"):
    np.testing.assert_array_equal(
      from_file.load(folder / name, "score", wanted).values, [by_id[one] for one in wanted.tolist()]
    )


def test_an_array_of_several_seeds_counts_by_its_mean(tmp_path):
  np.savez(
    tmp_path / "a.npz", example_id=IDS[::-1], score=np.array([[1, 2, 3], [3, 2, 7]], np.float32)
  )
  np.testing.assert_array_equal(
    from_file.load(tmp_path / "a.npz", "score", IDS).values, [5.0, 2.0, 2.0]
  )


def test_seeds_that_a_file_calls_not_sound_count_in_no_mean(tmp_path):
  scores = np.array([[1, 2, 3], [3, 2, np.nan], [3, 4, 5]])
  np.savez(tmp_path / "a.npz", example_id=IDS, score=scores, sound=np.array([True, False, True]))
  np.testing.assert_array_equal(
    from_file.load(tmp_path / "a.npz", "score", IDS).values, [2.0, 3.0, 4.0]
  )
  np.savez(
    tmp_path / "b.npz", example_id=IDS, score=scores[::2], sound=np.zeros(2, bool)
  )  # none is: all are what there is
  np.testing.assert_array_equal(
    from_file.load(tmp_path / "b.npz", "score", IDS).values, [2.0, 3.0, 4.0]
  )


def test_scores_of_other_labels_are_of_other_data(tmp_path):
  labels, names = np.array([2, 0, 1], np.int32), ("ant", "bee", "cat")
  tables = {
    "same": "4,2,1\n11,1,1\n7,0,1\n99,5,1\n",
    "names": "4,cat,1\n7,ant,1\n11,bee,1\n",
    "other": "4,2,1\n7,1,1\n11,,1\n",
  }
  for name, text in tables.items():
    write(tmp_path / f"{name}.csv", "example_id,label,score\n" + text)
  np.savez(tmp_path / "same.npz", example_id=IDS[::-1], label=labels[::-1], score=np.ones(3))
  np.savez(
    tmp_path / "other.npz", example_id=IDS[::-1], label=np.array([0, 1, 2]), score=np.ones(3)
  )
  for name in ("same.csv", "names.csv", "same.npz"):
    np.testing.assert_array_equal(
      from_file.load(tmp_path / name, "score", IDS, labels, names=names).values, np.ones(3)
    )
  for name in ("other.csv", "other.npz"):
    with pytest.raises(
      DataError,
      match=(
        r"2 of 3 training examples have another label there .ids 7, 11.*wrong labels been "
        r"planted"
      ),
    ) as caught:
      from_file.load(tmp_path / name, "score", IDS, labels, names=names)
    assert caught.value.exit_code == 3


NAMES = ("1", "2", "10")  # the labels of IDS below are 10, 1, 2 as their owner writes them


@pytest.mark.parametrize(
  "rows",
  [
    "label\n4,{},2\n7,{},0\n11,{},1\n",  # as scores.csv has them
    "label\n4,{},10\n7,{},1\n11,{},2\n",  # as the owner has them
    "label\n4,{},10.0\n7,{},1.0\n11,{},2.0\n",  # as pandas writes a column with gaps
    "class_name\n4,{}, 10\n7,{},1\n11,{},2\n",
    "class_name,label\n4,{},10,7\n7,{},1,7\n11,{},2,7\n",  # the name decides
    "label\n4,{},\n7,{},\n11,{},\n",  # nothing is said
  ],
)
def test_the_class_in_a_file_is_an_index_or_a_name(tmp_path, rows):
  path = write(tmp_path / "a.csv", "example_id,score," + rows.replace("{}", "1"))
  labels = np.array([2, 0, 1], np.int32)
  assert from_file.load(path, "score", IDS, labels, names=NAMES).values.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
  ("names", "theirs", "numbers"),  # of other classes in a column label, and class_name
  [
    (NAMES, "2,10,1", (1, 3)),
    (NAMES, "10,1,1", (1, 1)),
    (NAMES, "2,1,2", (1, 1)),  # neither all indices nor all names
    (NAMES, "2,0,1", (0, 3)),
    (("ant", "bee", "cat"), "cat,ant,Bee", (1, 1)),
    (("ant", "bee", "cat"), "a,b,c", (3, 3)),
  ],
)
def test_another_class_in_a_file_is_refused_with_both_names(tmp_path, names, theirs, numbers):
  rows = [f"{one},1,{name}\n" for one, name in zip(IDS, theirs.split(","), strict=True)]
  labels = np.array([2, 0, 1], np.int32)
  for column, number in zip(("label", "class_name"), numbers, strict=True):
    path = write(tmp_path / "a.csv", f"example_id,score,{column}\n" + "".join(rows))
    if not number:
      assert len(from_file.load(path, "score", IDS, labels, names=names).values) == 3
      continue
    with pytest.raises(DataError, match=f"{number} of 3 training examples have another label"):
      from_file.load(path, "score", IDS, labels, names=names)


def test_names_in_an_npz_are_compared_too(tmp_path):
  labels, path = np.array([1, 0, 1], np.int32), tmp_path / "a.npz"
  np.savez(path, example_id=IDS, score=np.ones(3), class_name=["caf\u0065\u0301", "x", "caf\u00e9"])
  assert from_file.load(path, "score", IDS, labels, names=("x", "caf\u00e9")).num_unused == 0
  with pytest.raises(DataError, match=r"the first has 'x' there, here 0 \('y'\)"):
    from_file.load(path, "score", IDS, labels, names=("y", "caf\u00e9"))


TABLES = [
  ("example_id,score\n4,1\n11,2\n", "1 of 3 training examples have no score (ids 7)"),
  (
    "example_id,score\n4,1\n7,1\n11,2\n7,1\n",
    "1 of 3 training examples stand there more than once (ids 7)",
  ),
  (
    "example_id,score\n4,nan\n7,\n11,inf\n",
    "3 of 3 training examples have a score that is no finite number (ids 4, 7, 11)",
  ),
  ("example_id,score\n4,1_0\n7,1\n11,1\n", "no finite number (ids 4)"),
  (
    "example_id,score\n4,1\n4,1\n11,x\n",
    "have no score (ids 7); 1 of 3 training examples stand there more than once (ids 4); 1 of 3",
  ),
  ("example_id,score\n", "3 of 3 training examples have no score (ids 4, 7, 11)"),
  ("", "no column 'example_id', expected one; it says which example a score is of (columns: none)"),
  (
    "example_id,ease\n4,1\n",
    (
      "no column 'score', expected one; choose it by --config.score.column (columns: example_id, "
      "ease)"
    ),
  ),
  ("example_id,score,score\n4,1,1\n", "2 columns 'score', expected one"),
  ("example_id,score\n4.0,1\n", "line 2: example_id '4.0' is no integer"),
  ("example_id,score\n4\n", "line 2: 1 cells under a header of 2"),
  ('example_id,score\n4,"1\n', "not CSV"),
]


@pytest.mark.parametrize(("text", "part"), TABLES, ids=[part[:30] for _, part in TABLES])
def test_a_table_that_does_not_score_every_example_once_is_refused_with_the_ids(
  text, part, tmp_path
):
  with pytest.raises(DataError, match=re.escape(part)) as caught:
    from_file.load(write(tmp_path / "a.csv", text), "score", IDS)
  assert str(caught.value).startswith(f"score.path={tmp_path}/a.csv")
  assert "\n" not in str(caught.value)


ARRAYS = [
  (
    {"example_id": IDS, "score": np.zeros(2)},
    "score is float64 [2], expected numbers [N] or [seeds, N] with N = 3",
  ),
  ({"example_id": IDS, "score": np.zeros((0, 3))}, "score is float64 [0, 3]"),
  ({"example_id": IDS, "score": np.array(["a", "b", "c"])}, "score is <U1 [3], expected numbers"),
  (
    {"example_id": IDS * 1.0, "score": np.zeros(3)},
    "example_id is float64 [3], expected integers [N]",
  ),
  (
    {"example_id": IDS, "score": np.array([1.0, np.inf, -np.inf])},
    "2 of 3 training examples have a score that is no finite number (ids 7, 11)",
  ),
  ({"example_id": IDS, "score": np.array([1, None, 2])}, "holds Python objects"),
]


@pytest.mark.parametrize(("arrays", "part"), ARRAYS, ids=[part[:30] for _, part in ARRAYS])
def test_arrays_that_are_no_scores_are_refused(arrays, part, tmp_path):
  np.savez(tmp_path / "a.npz", **arrays)
  with pytest.raises(DataError, match=re.escape(part)):
    from_file.load(tmp_path / "a.npz", "score", IDS)


def test_what_is_no_file_of_scores_is_refused(tmp_path):
  (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and nothing")
  (tmp_path / "raw.csv").write_bytes(b"example_id\xff")
  for name, part in (
    ("none.csv", "no such file"),
    (".", "not a file"),
    ("cut.npz", "not a sound npz"),
    ("raw.csv", "not UTF-8"),
  ):
    with pytest.raises(DataError, match=part):
      from_file.load(tmp_path / name, "score", IDS)


def test_keys_of_a_file_need_one(tmp_path):
  with pytest.raises(ConfigError, match=r"score.name = 'file': expected score.path too"):
    tiny.config(score__name="file")
  with pytest.raises(
    ConfigError, match=r"score.column = 'a' has no meaning with score.path = None"
  ):
    tiny.config(score__column="a")


def config_of(path, **changes):
  keys = {
    "score__name": "file",
    "score__path": str(path),
    "score__column": "confidence",
  }
  return whole.config(**(keys | changes))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
  """A finished run whose scores rank the examples of the others."""
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    workdir = tmp_path_factory.mktemp("earlier") / "run"
    assert whole.run(whole.config(arms=("baseline", "random_subset")), workdir) == 0
  return workdir


@pytest.mark.slow
def test_one_runs_scores_rank_anothers_examples_from_either_of_its_files(
  earlier, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  # score.higher_is is left out: what a higher value of these columns means is known.
  cases = (("scores.csv", "confidence", "easier"), ("scores.npz", "el2n", "harder"))
  for number, (name, column, end) in enumerate(cases):
    workdir = tmp_path / str(number)
    config = config_of(
      earlier / name, score__column=column, split__source=("seed", "mean")[number % 2]
    )
    assert whole.run(config, workdir) == 0
    mean = files.read_npz(earlier / "scores.npz")[column].mean(axis=0)
    stored = files.read_npz(workdir / "scores.npz")
    assert (stored["file"].shape, stored["file"].dtype) == ((2, 70), np.float64)
    np.testing.assert_allclose(stored["file"], [mean, mean], rtol=1e-6)
    entry = files.read_json(workdir / "scores.json")["scorers"]["file"]
    assert (entry["source"], entry["direction"]) == ("file", f"higher_is_{end}")
    easy = np.argsort(-mean if end == "easier" else mean)[:7]
    ids = files.read_npz(workdir / "arms" / "method.npz")["A"]
    assert set(ids[0].tolist()) == set(ids[1].tolist()) == set(easy.tolist())
    with open(workdir / "scores.csv", newline="") as table:
      assert {"file", "file_seed0", "file_seed1"} <= set(next(csv.reader(table)))


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_scores_wherever_they_lie_and_with_no_others(
  earlier, tmp_path, monkeypatch, capsys
):
  whole.without_report(monkeypatch)
  path, workdir = tmp_path / "a.csv", tmp_path / "run"
  path.write_bytes((earlier / "scores.csv").read_bytes())
  assert any("note      scores from " in line for line in dry_run.describe(config_of(path)))
  assert whole.run(config_of(path), workdir) == 0
  checksum = hashlib.sha256(path.read_bytes()).hexdigest()
  assert (
    f"note: scores from {path} (SHA-256 {checksum}), column confidence, higher is easier\n"
    in capsys.readouterr().err
  )
  assert files.read_json(workdir / "environment.json")["file_checksums"] == {
    "model.pretrained": "none",
    "score.path": checksum,
  }
  stamps = whole.stamps(workdir)
  moved = write(tmp_path / "moved.csv", path.read_text())
  assert whole.run(config_of(moved), workdir) == 0
  other = write(tmp_path / "other.csv", path.read_text().replace(",0.", ",0.0"))
  with pytest.raises(
    DataError, match=f"holds a run with another score.path .SHA-256 {checksum}, now "
  ):
    experiment.run(config_of(other), workdir, "tiny")
  with pytest.raises(ConfigError, match=r"score.higher_is: None -> 'easier'"):
    experiment.run(config_of(path, score__higher_is="easier"), workdir, "tiny")
  assert whole.stamps(workdir) == stamps
  # A baseline that is taken over brings scores.npz of its run along, but not the file's scores.
  taken = dataclasses.replace(config_of(other), baseline_from=str(workdir))
  assert whole.run(taken, tmp_path / "taken") == 0
  assert whole.run(config_of(other), tmp_path / "own") == 0
  whole.assert_same(config_of(other), tmp_path / "own", tmp_path / "taken", report=False)


@pytest.mark.slow
def test_scores_that_do_not_fit_end_a_run_before_it_begins(earlier, tmp_path):
  path = write(
    tmp_path / "a.csv", "".join((earlier / "scores.csv").read_text().splitlines(keepends=True)[:-2])
  )
  with pytest.raises(
    DataError, match=re.escape("2 of 70 training examples have no score (ids 68, 69)")
  ) as caught:
    experiment.run(config_of(path), tmp_path / "run", "tiny")
  assert caught.value.exit_code == 3
  assert not (tmp_path / "run").exists()


def test_the_user_says_which_end_of_a_file_is_easy():
  for end in ("easier", "harder"):
    table = score_files.described(config_of("a.csv", score__column="mine", score__higher_is=end))
    assert table["file"].direction == f"higher_is_{end}"
    assert {name: table[name] for name in SCORES if name != "file"} == {
      name: SCORES[name] for name in SCORES if name != "file"
    }


@pytest.mark.parametrize(
  ("column", "end"),
  [
    ("el2n", "harder"),
    ("loss", "harder"),
    ("log_odds", "easier"),
    ("forgetting_seed12", "harder"),
    (" EL2N ", "harder"),
    ("difficulty", "harder"),
    ("mine", "easier"),
    ("my_el2n", "easier"),
  ],
)
def test_a_column_named_as_a_score_has_its_direction_and_any_other_is_easier(column, end):
  assert config_of("a.csv", score__column=column).score.file_direction == end


@pytest.mark.parametrize(
  ("column", "end"),
  [("el2n", "easier"), ("confidence_seed0", "harder"), ("wrong_label", "easier")],
)
def test_the_wrong_end_of_a_known_score_is_refused_and_the_advice_works(column, end):
  with pytest.raises(ConfigError, match=f"^score.higher_is = '{end}': expected ") as caught:
    config_of("a.csv", score__column=column, score__higher_is=end)
  advised = str(caught.value).split("expected '")[1].partition("'")[0]
  for higher_is in (advised, None):
    config = config_of("a.csv", score__column=column, score__higher_is=higher_is)
    assert config.score.file_direction == advised != end


@pytest.mark.parametrize("column", ["file", "file_seed1"])
def test_the_column_of_an_earlier_files_scores_needs_its_direction(column):
  with pytest.raises(ConfigError, match=rf"^score.column = '{column}': expected score.higher_is "):
    config_of("a.csv", score__column=column)
  assert config_of("a.csv", score__column=column, score__higher_is="harder")
