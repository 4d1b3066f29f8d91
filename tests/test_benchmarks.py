"""The benchmarks run, each at the smallest size; their figures are looked at nowhere here."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from tests.support.places import ROOT

SMALL = ["--network=resnet8", "--batch_size=4", "--image_size=8"]
SCRIPTS = {
  "costs": [*SMALL, "--steps=2", "--repeats=1"],
  "devices": [*SMALL, "--steps=1", "--repeats=1", "--devices=1,2"],
  "dynamics": ["--rounds=2"],
  "exports": ["--networks", "mlp"],
  "gpu": ["--tiny"],
  "operations": ["--rounds=2", "--num_train=16"],
  "predict": ["--network=resnet8", "--images=64", "--batch_size=16", "--repeats=1"],
  "memory": [*SMALL, "--num_train=8"],
  "replicas": ["--rounds=1", "--repeats=1"],
  "step_profile": [*SMALL, "--steps=1"],
  "streaming": ["--what=linear", "--sizes", "100", "200", "--repeats=1"],
  "seeds": ["--seeds=1", "--repeats=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_runs_and_keeps_its_figures_and_the_machine(tmp_path, name):
  out = tmp_path / "figures.json"
  command = [sys.executable, f"benchmarks/{name}.py", *SCRIPTS[name], f"--out={out}"]
  subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
  kept = json.loads(out.read_text())
  assert kept.pop("benchmark") == name
  assert kept.pop("machine")["cpus"] >= 1
  assert kept


@pytest.mark.parametrize(
  ("shape", "source", "kind"),
  [
    ("128,32,32,16", "jvp(ResNet)/conv1/conv_general_dilated", "convolution, forward"),
    ("16,3,3,16", "transpose(jvp(ResNet))/conv_general_dilated", "convolution, kernel's gradient"),
    ("128,8,8,64", "transpose(jvp(ResNet))/conv_general_dilated", "convolution, images' gradient"),
  ],
)
def test_the_profile_of_a_step_knows_the_parts_of_a_convolution(monkeypatch, shape, source, kind):
  monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
  step_profile = importlib.import_module("step_profile")
  line = f'  %call.1 = (f32[{shape}]{{3,2,1,0}}, u8[8]{{0}}) custom-call(), op_name="{source}"'
  assert step_profile._kinds(line) == {"call.1": kind}
