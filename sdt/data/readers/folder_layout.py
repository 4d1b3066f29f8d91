"""Finds the splits and the class folders of a set of images in folders; refuses other layouts."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdt.config.schema import DataConfig
from sdt.data import class_names
from sdt.data.readers.image_kinds import has_image_suffix
from sdt.errors import DataError
from sdt.files.sealed import SEAL_DIR

EXPECTED = (
  "expected train/CLASS/*.png|jpg with test/CLASS/* (or val/CLASS/*), or CLASS/*.png|jpg with "
  "data.test_fraction"
)
AS_CSV = (
  "list the images in a CSV file instead (--config.data.name=csv --config.data.path=FILE.csv), "
  "where a class may have any name"
)
TEST_FOLDERS = ("test", "val", "valid")  # the first that exists is used
# What a folder of one of these names is meant to be, in whatever case it is written.
_SPLITS = {
  **dict.fromkeys(("train", "training"), "train"),
  **dict.fromkeys(("test", "testing"), "test"),
  **dict.fromkeys(("val", "valid", "validation"), "val"),
}
# Folders that systems and programs make beside files, in lower case.
_SYSTEM = frozenset(
  "__macosx @eadir @recycle @recently-snapshot #recycle #snapshot $recycle.bin lost+found "
  "__pycache__".split()
) | {"system volume information"}
# Folders that are more likely something else than a class.
_UNLIKELY = frozenset(
  "backup checkpoints figures logs output outputs plots results runs thumbnails tmp".split()
)
_NUM_SHOWN = 8


class LeftOut:
  """What lies among the images and is not taken, by reason; `notes` tells it."""

  def __init__(self) -> None:
    self._places: dict[str, list[str]] = collections.defaultdict(list)

  def add(self, reason: str, *places: str) -> None:
    """Adds files, by their paths relative to the root of the set."""
    if places:
      self._places[reason].extend(places)

  def notes(self) -> list[str]:
    """Returns one note with every reason, its number of files, and the first of them."""
    parts = [
      f"{len(places)} {reason} (the first is {places[0]})"
      for reason, places in self._places.items()
    ]
    return [f"left out: {'; '.join(parts)}"] if parts else []


@dataclasses.dataclass(frozen=True)
class Content:
  """What lies directly in a folder, each sorted by name.

  Attributes:
    folders: that may be a class or a split.
    system: folders that are hidden, that a system made, or that hold a run of sdt.
    files: those that are not hidden.
    hidden: files that are hidden.
  """

  folders: tuple[str, ...]
  system: tuple[str, ...]
  files: tuple[str, ...]
  hidden: tuple[str, ...]

  @property
  def images(self) -> list[str]:
    """The files that claim to be images by their suffix."""
    return [name for name in self.files if has_image_suffix(name)]


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the images of a set lie.

  Attributes:
    train: the folder with the class folders of the training split.
    test: that of the test split; None where the set has none.
    class_names: in the order of the labels.
    notes: what the user must be told.
  """

  train: Path
  test: Path | None
  class_names: tuple[str, ...]
  notes: tuple[str, ...] = ()


def shown(names: Sequence[str], end: str = "/") -> str:
  """Returns the first names for a message, whatever bytes are in them."""
  text = ", ".join(
    name.encode("utf-8", "backslashreplace").decode() + end for name in names[:_NUM_SHOWN]
  )
  return text + (", ..." if len(names) > _NUM_SHOWN else "")


def _is_of_sdt(folder: Path) -> bool:
  """Returns whether a folder is a part of a run of sdt, or is runs/ with runs in it."""
  is_runs = folder.name == "runs" and next(folder.rglob(SEAL_DIR), None) is not None
  return is_runs or (folder / SEAL_DIR).is_dir()


def content(folder: Path) -> Content:
  """Returns what lies in a folder; raises OSError."""
  entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  kinds = collections.defaultdict(list)
  for entry in entries:
    name, is_hidden = entry.name, entry.name.startswith(".")
    if not entry.is_dir():
      kinds["hidden" if is_hidden else "files"].append(name)
    elif is_hidden or name.lower() in _SYSTEM or _is_of_sdt(folder / name):
      kinds["system"].append(name)
    else:
      kinds["folders"].append(name)
  return Content(**{field: tuple(kinds[field]) for field in Content.__dataclass_fields__})


def images_below(folder: Path) -> Iterator[Path]:
  """Yields the files below a folder that claim to be images, at any depth."""
  for directory, folders, files in os.walk(folder):
    folders.sort()
    yield from (Path(directory, name) for name in sorted(files) if has_image_suffix(name))


def _split_of(name: str) -> str | None:
  return _SPLITS.get(name.strip().casefold())


def _listing(root: Path, inside: Content) -> str:
  """Returns what is there, for a message: folders with their number of images, and loose images."""
  parts = []
  for name in inside.folders[:_NUM_SHOWN]:
    below = content(root / name)
    what = f"{len(below.images)} images" if below.images else f"{len(below.folders)} folders"
    parts.append(f"{shown([name])} ({what})")
  parts += ["..."] if len(inside.folders) > _NUM_SHOWN else []
  parts += [f"{len(inside.images)} loose images"] if inside.images else []
  return f"there: {', '.join(parts) or 'nothing that could be a class'}"


def _fraction(config: DataConfig, has_test: bool) -> str:
  """Returns what else must be changed of `data.test_fraction`, for the end of an advice."""
  if has_test:
    return "" if config.test_fraction is None else ", and leave data.test_fraction out"
  return " and give --config.data.test_fraction=0.2" if config.test_fraction is None else ""


def _refuse_no_classes(root: Path, folder: Path, inside: Content) -> None:
  """Refuses a folder without class folders."""
  what = "holds no class folders"
  if inside.images:
    what = (
      f"holds {len(inside.images)} loose images and no class folders: put the images of each class "
      f"into a folder of its own, or {AS_CSV}"
    )
  raise DataError(f"data.path={root}: {folder} {what}; {EXPECTED}")


def _refuse_split_names(root: Path, inside: Content, config: DataConfig) -> None:
  """Refuses folders with the names of splits where the classes should be."""
  splits = {name: kind for name in inside.folders if (kind := _split_of(name))}
  classes = [name for name in inside.folders if name not in splits]
  have_classes = [name for name in splits if content(root / name).folders]
  there, kinds = f"data.path={root}: {_listing(root, inside)}", list(splits.values())
  if len(have_classes) == len(splits) == len(set(kinds)) and "train" in kinds:
    renames = [f"{shown([name])} to {kind}/" for name, kind in splits.items() if name != kind]
    end = _fraction(config, has_test=len(splits) > 1)
    raise DataError(f"{there}; rename {' and '.join(renames)}{end}; {EXPECTED}")
  if not classes:
    raise DataError(
      f"{there}; call the folder of the training images train/, with a folder for each class in "
      f"it; {EXPECTED}"
    )
  advice = f"move {shown(list(splits))} away{_fraction(config, has_test=False)}"
  if have_classes and len(splits) == 1 and kinds != ["train"]:
    is_known = have_classes[0] in TEST_FOLDERS
    new = "" if is_known else f", rename {shown(have_classes)} to {kinds[0]}/"
    end = _fraction(config, has_test=True)
    advice = f"make a folder train/ and put {shown(classes)} into it{new}{end}; or {advice}"
  raise DataError(
    f"{there}; what is called {shown(list(splits))} could be a split or a class: {advice}; if it "
    f"is a class, {AS_CSV}"
  )


def _refuse_wrapper(root: Path, inside: Content, config: DataConfig) -> None:
  """Refuses a folder that holds nothing but the folder of the set, as an unpacked archive may."""
  if len(inside.folders) != 1 or inside.images:
    return
  inner = root / inside.folders[0]
  below = content(inner)
  if below.images or not below.folders:
    return
  advice = f"data.path={root}: it holds only {shown(inside.folders)}, and the set lies in there"
  try:
    find(inner, config)
  except DataError as error:
    raise DataError(f"{advice}: give --config.data.path={inner}; of that folder: {error}") from None
  raise DataError(f"{advice}; give --config.data.path={inner}")


def _test_folder(root: Path, inside: Content, config: DataConfig) -> tuple[str | None, list[str]]:
  """Returns (the folder of the test split beside train/, notes on what is not used there)."""
  others = [name for name in inside.folders if name != "train"]
  used = next((name for name in TEST_FOLDERS if name in others), None)
  meant = [name for name in others if _split_of(name) in ("test", "val")]
  if used is None and meant:
    raise DataError(
      f"data.path={root}: {_listing(root, inside)}; rename {shown(meant[:1])} to "
      f"{_split_of(meant[0])}/, the name of the test split"
      f"{_fraction(config, has_test=True)}; {EXPECTED}"
    )
  if used is None and config.test_fraction is None:
    raise DataError(
      f"data.path={root}: there is no test/ folder (nor val/); give the share to hold out, such as "
      "--config.data.test_fraction=0.2"
    )
  notes = [f"{used}/ is the test split"] if used not in (None, "test") else []
  idle = [
    name for name in others if name != used and (_split_of(name) or content(root / name).images)
  ]
  verb = "is" if len(idle) == 1 else "are"
  return used, notes + ([f"{shown(idle)} {verb} not used"] if idle else [])


def find(root: Path, config: DataConfig) -> Layout:
  """Returns where the images below `root` lie.

  Raises:
    DataError: no layout that is read; the message has what is there and the nearest that would do.
      OSError: a folder cannot be read.
  """
  inside = content(root)
  if "train" in inside.folders:
    below = content(root / "train")
    if not below.folders:
      if below.images and not all(map(_split_of, inside.folders)):
        _refuse_split_names(root, inside, config)
      _refuse_no_classes(root, root / "train", below)
    test, notes = _test_folder(root, inside, config)
    names = class_names.ordered(below.folders)
    if test is not None:
      _check_test_classes(root, test, names, config=config)
    return Layout(root / "train", root / test if test else None, names, notes=tuple(notes))
  if not inside.folders:
    _refuse_no_classes(root, root, inside)
  if any(map(_split_of, inside.folders)):
    _refuse_split_names(root, inside, config)
  _refuse_wrapper(root, inside, config)
  if config.test_fraction is None:
    raise DataError(
      f"data.path={root}: there is no test/ folder (nor val/); give the share to hold out, such as "
      "--config.data.test_fraction=0.2"
    )
  unlikely = [name for name in inside.folders if name.lower() in _UNLIKELY]
  notes = [
    f"{shown([name])} is taken for a class; if it is none, move it away" for name in unlikely
  ]
  return Layout(root, None, class_names.ordered(inside.folders), notes=tuple(notes))


def _check_test_classes(root: Path, test: str, names: Sequence[str], *, config: DataConfig) -> None:
  """Refuses a test split without class folders, or with classes that are not trained."""
  inside = content(root / test)
  if not inside.folders:
    images = f"{len(inside.images)} images, but " if inside.images else ""
    raise DataError(
      f"data.path={root}: {test}/ holds {images}no class folders, so its labels are not known; "
      f"move {test}/ away{_fraction(config, has_test=False)}; {EXPECTED}"
    )
  class_names.refuse_nearly_known(inside.folders, names, f"data.path={root}, {test}/")
  unknown = sorted(set(inside.folders) - set(names))
  if unknown:
    they = shown([f"{test}/{name}" for name in unknown])
    raise DataError(
      f"data.path={root}: {they} without a folder of the same name below train/; every test class "
      f"must be trained: add the folders there, or move {they} away"
    )


def holds_classes(root: Path, place: Path) -> bool:
  """Returns whether a folder at `place` would lie where the folders of the set below `root` are
  classes, or inside a class.
  """
  tops = {name: root / name for name in ("train", *TEST_FOLDERS) if (root / name).is_dir()}
  roots = list(tops.values()) if "train" in tops else [root]

  def forms(path: Path) -> tuple[Path, Path]:
    return Path(os.path.abspath(path)), path.resolve()

  pairs = [(at, top) for at in forms(place) for one in roots for top in forms(one)]
  inside = [at.relative_to(top) for at, top in pairs if at.is_relative_to(top)]
  return any(not str(path).startswith(".") or path == Path() for path in inside)
