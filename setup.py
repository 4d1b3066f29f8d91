"""Says which packages the wheel has: those of sdt/, and configs/ as sdt/_configs."""

import tempfile

from setuptools import find_namespace_packages, find_packages, setup

CONFIGS = "sdt._configs"

# A folder of its own for every build: what one leaves in build/, such as a module that has been
# deleted since, would be in the next wheel too.
with tempfile.TemporaryDirectory() as build:
  setup(
    packages=[
      *find_packages(include=["sdt*"]),
      CONFIGS,
      *(f"{CONFIGS}.{name}" for name in find_namespace_packages("configs")),
    ],
    package_dir={CONFIGS: "configs"},
    options={"build": {"build_base": build}},
  )
