import pytest

from sdt.report import drawing, figures, read


@pytest.fixture
def drawn(monkeypatch):
  """Returns a function that draws all of a workdir and gives the figures by their function's name;
  no pixel is made.
  """

  def draw(workdir):
    made = {}

    def keep(function, *args, families=(), **kwargs):
      made.setdefault(function.__name__, []).append(function(*args, **kwargs))
      return b""

    monkeypatch.setattr(figures, "render", keep)
    return made, drawing.draw(read.load(workdir))

  return draw


@pytest.fixture
def captioned(monkeypatch):
  """Returns a function that gives the pictures of loaded artifacts; nothing is drawn."""
  monkeypatch.setattr(figures, "render", lambda draw, *args, **kwargs: b"")
  return drawing.draw
