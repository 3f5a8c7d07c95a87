# SPDX-License-Identifier: Apache-2.0
"""Training by several processes: the loss and the weights of one, whatever befalls a process on the way."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_training import CONFIG, SETTINGS, blob_episode
from torch import nn

from jepa_ros.contract import load_contract
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.learning.parallel.watch import Watch
from jepa_ros.learning.representation.representation import RepresentationTrainer, run
from jepa_ros.world_model import WorldModel

HERE = Path(__file__).parent
#: Of how far training moved the weights, and of the loss: what the order of additions makes of twelve steps. Adam
#: follows the sign of gradients that are nearly zero.
WEIGHTS, LOSS = 0.05, 0.005


def start(script, *words, processes=2, **options):
    """Run a script of this folder under torchrun; returns the finished process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    path = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, *(launcher if processes > 1 else []), str(HERE / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=540)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "d"
    writer, rng = DatasetWriter(folder, load_contract("arena"), {"seed": 0}), np.random.default_rng(0)
    writer.begin()
    writer.write_shard(0, [blob_episode(rng, i + 1) for i in range(12)])
    writer.finish()
    return folder


def losses_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    curve = [r["total"] for r in lines if r["phase"] == "representation"]
    later = [v for r in lines if r["phase"] in ("predictor", "distance", "readouts") for v in r.values()]
    stages = json.loads((folder / "losses.json").read_text())
    told = [v for records in stages.values() for r in records for v in r.values()]
    return np.array([v for v in [*curve, *later, *told] if isinstance(v, float)])


@pytest.mark.slow
def test_two_processes_train_what_one_does_though_one_of_them_is_killed(data, tmp_path):
    alone = start("train_ranks.py", data, tmp_path / "one", "stages=1", processes=1)
    assert alone.returncode == 0, alone.stderr
    both = start("train_ranks.py", data, tmp_path / "two", "stages=1", "kill=8", max_restarts=1)
    assert both.returncode == 0, both.stderr
    assert "exitcode: -9" in both.stderr
    assert (tmp_path / "two" / "processes").read_text() == "2"
    torch.manual_seed(SETTINGS.seed)
    begun = WorldModel(CONFIG).state_dict()
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for part in ("encoder.", "predictor.", "heads.distance.", "heads.contact."):
        names = [k for k in one if k.startswith(part) and one[k].is_floating_point()]
        off = sum(float((one[k] - two[k]).square().sum()) for k in names) ** 0.5
        moved = sum(float((one[k] - begun[k]).square().sum()) for k in names) ** 0.5
        assert off < WEIGHTS * moved, f"{part} {off / moved:.3f}"
    np.testing.assert_allclose(losses_of(tmp_path / "two"), losses_of(tmp_path / "one"), rtol=LOSS)
    one, two = (load_file(tmp_path / name / "stages.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.slow
def test_a_process_that_hangs_is_named(data, tmp_path):
    begun = time.monotonic()
    found = start("train_ranks.py", data, tmp_path / "m", "hang=3", "timeout=15")
    assert found.returncode != 0 and time.monotonic() - begun < 300
    lines = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert lines and all("rank 1 of 2 (" in line and "at step 3 has not gone on for" in line for line in lines), lines
    assert "rank 0 of 2" not in "".join(lines)


@pytest.mark.slow
def test_layers_over_two_processes_are_those_of_the_whole_batch():
    found = start("layer_ranks.py")
    assert found.returncode == 0, found.stderr
    worst = [float(line) for line in found.stdout.split()]
    assert len(worst) == 2 and max(worst) < 1e-9


class Told:
    """A store in one process, as torch's."""

    def __init__(self):
        self.kept = {}

    def set(self, key, value):
        self.kept[key] = value.encode()

    def get(self, key):
        return self.kept[key]

    def check(self, keys):
        return all(key in self.kept for key in keys)


def test_a_rank_that_works_on_while_others_wait_does_not_hang():
    store, said = Told(), []
    waiting, busy = (Watch(store, rank, 2, 1.5, said.append) for rank in (0, 1))
    try:
        waiting.at("step 1")
        waiting.meets()
        for piece in range(15):
            busy.at(f"episode {piece}")
            time.sleep(0.15)
        assert said == []
        end = time.monotonic() + 60.0
        while not said and time.monotonic() < end:
            time.sleep(0.05)
        assert said and all("rank 1 of 2" in line and "episode 14" in line for line in said)
    finally:
        waiting.close()
        busy.close()


class Plain(RepresentationTrainer):
    """Without batch normalisation, whose statistics are those of a part."""

    def __init__(self, *args):
        super().__init__(*args)
        for block in self.model.encoder.trunk:
            block[1] = nn.Identity()


def test_a_batch_in_parts_has_the_gradients_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (4, 2, 6, 64, 64, 3), dtype=torch.uint8, generator=generator)
    actions = torch.rand(4, 2, 6, 2, generator=generator) * 2.0 - 1.0
    found = {}
    for parts in (1, 3):
        torch.manual_seed(1)
        settings = replace(SETTINGS, batch=BatchShape(4, 2, 6), accumulate=parts, clip=1e9)
        trainer = Plain(WorldModel(CONFIG), settings, False)
        told = []
        run(trainer, [(0, {"image": images}, actions)], lambda _, terms, told=told: told.append(terms))
        found[parts] = told[0], [p.grad for p in trainer.trained.parameters()]
    assert found[3][0] == pytest.approx(found[1][0], rel=1e-5)
    for whole, parted in zip(found[1][1], found[3][1]):
        torch.testing.assert_close(parted, whole, rtol=1e-3, atol=1e-6 + 1e-4 * float(whole.abs().max()))
