"""Every test runs under JAX's strict rules, on two simulated CPU devices."""

import os
import tempfile

# Before JAX is imported anywhere: two devices, so that both data-parallel modes have something to
# divide.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Decoded images are kept in the data directory: not in that of whoever runs the tests.
_DATA = tempfile.TemporaryDirectory(prefix="sdt-data-")
os.environ["SDT_DATA_DIR"] = _DATA.name

# Tests build the same small programs again and again; each session (and each worker of it) compiles
# one once.
_CACHE = tempfile.TemporaryDirectory(prefix="sdt-xla-")
jax.config.update("jax_compilation_cache_dir", _CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

hypothesis.settings.register_profile("sdt", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.load_profile("sdt")


@pytest.fixture
def key():
  return jax.random.key(0)


@pytest.fixture
def figure(record_property):
  """Returns a function that takes a line for the end of the session: what a test has measured, and
  its seed.
  """
  return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter):
  reports = [
    one
    for some in terminalreporter.stats.values()
    for one in some
    if getattr(one, "when", None) == "call"
  ]
  for name, line in (named for one in reports for named in one.user_properties):
    if name == "figure":
      terminalreporter.write_line(line)
