"""How `make docs` builds a site from the pages of the repository and the public docstrings.

The source folder is the root of the repository, so that a link that works there works in the site:
to a page as it is, to a source file as a download, to a folder as its first page.
"""

import posixpath
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import sdt

project = "sdt"
release = sdt.__version__
html_theme = "furo"
html_title = f"sdt {release}"
html_copy_source = False
html_show_copyright = False
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "runs", "site", "sdt", "tests", "configs", "benchmarks", "notebooks"]

# Links to headings have the names that a repository's web page gives them.
myst_heading_anchors = 4

autodoc_default_options = {
  "members": True,
  "imported-members": True,
  # What scikit-learn gives every estimator.
  "exclude-members": "set_fit_request, set_score_request",
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_attr_annotations = False
default_role = "code"  # docstrings write code as Markdown does


def lead_to_first_page(app: Sphinx, page: nodes.document) -> None:
  """Makes a link to a folder of pages one to its first page."""
  for link in page.findall(pending_xref):
    if link["reftype"] == "myst" and link["refdomain"] is None:
      here = posixpath.dirname(link["refdoc"])
      folder = posixpath.normpath(posixpath.join(here, link["reftarget"]))
      inside = sorted(name for name in app.env.found_docs if name.startswith(f"{folder}/"))
      if inside:
        link["refdomain"], link["reftarget"], link["reftargetid"] = "doc", inside[0], None


def lead_to_root(app: Sphinx, error: Exception | None) -> None:
  """Writes an index.html that leads to the first page."""
  if error is None and app.builder.name == "html":
    refresh = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    (Path(app.outdir) / "index.html").write_text(refresh, encoding="utf-8")


def setup(app: Sphinx) -> None:
  """Connects both to Sphinx."""
  app.connect("doctree-read", lead_to_first_page)
  app.connect("build-finished", lead_to_root)
