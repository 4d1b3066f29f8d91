"""Which classes the printed table calls the least accurate, and of which arms."""

from sdt.report import tables


def test_without_a_method_the_recommended_arm_stands_beside_the_baseline():
  fine = {"accuracy": {"0": 0.9}, "mean": 0.9, "sd": None, "n": 1}
  arms = {
    "baseline": fine | {"class_accuracy": {"mean": [0.5, 0.9]}},
    "over": fine | {"class_accuracy": {"mean": [0.8, 0.7]}},
    "method": fine | {"class_accuracy": {"mean": [0.6, 1.0]}},
  }
  best = {"arm": "over", "seed": 0, "file": "x", "rule": "the best", "why": "better"}
  results = {"data": {"class_names": ["ant", "bee"]}, "seeds": [0], "recommended": best}
  start = "Classes, lowest accuracy first, %, mean over seeds: baseline ant 50.00, bee 90.00"
  text = " ".join(tables.result_table_text({**results, "arms": arms}).split())
  assert f"{start}; method ant 60.00, bee 100.00." in text
  del arms["method"]
  text = " ".join(tables.result_table_text({**results, "arms": arms}).split())
  assert f"{start}; over bee 70.00, ant 80.00." in text
  results["recommended"] = {**best, "arm": "baseline"}
  assert f"{start}.\n" in tables.result_table_text({**results, "arms": arms})
