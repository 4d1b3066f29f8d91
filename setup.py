"""Says which packages the wheel has: those of sdt/, and configs/ as sdt/_configs."""

from setuptools import find_namespace_packages, find_packages, setup

CONFIGS = "sdt._configs"

setup(
  packages=[
    *find_packages(include=["sdt*"]),
    CONFIGS,
    *(f"{CONFIGS}.{name}" for name in find_namespace_packages("configs")),
  ],
  package_dir={CONFIGS: "configs"},
)
