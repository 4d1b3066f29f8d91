"""Data directories of a test's own, so that it neither finds nor leaves anything elsewhere."""

import pytest

from sdt.data.published import registered


@pytest.fixture
def own_places(tmp_path, monkeypatch):
  """Returns the folder of the test, with the data directory `cache` and tfds's, `prepared`."""
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
  monkeypatch.setenv("TQDM_DISABLE", "1")
  return tmp_path


@pytest.fixture
def no_network(own_places, monkeypatch):
  """Fails the test when it asks for the network."""
  monkeypatch.setattr(registered, "unreachable", lambda url: pytest.fail("asked the network"))
  return own_places
