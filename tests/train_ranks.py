# SPDX-License-Identifier: Apache-2.0
"""Run by test_training_processes.py, alone or under torchrun: trains every stage and leaves weights and losses.

    python tests/train_ranks.py DATASET OUT [accumulate=N] [kill=STEP] [hang=STEP]

``kill`` and ``hang``: the second process, at its first attempt, ends hard or stops going on at that step.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from test_training import CONFIG, SETTINGS

from jepa_ros.learning import train as training
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.sampler import BatchShape
from jepa_ros.learning.parallel import ranks
from jepa_ros.learning.parallel.start import joined
from jepa_ros.learning.representation.diagnostics import encode_episodes
from jepa_ros.learning.stages import place_map
from jepa_ros.learning.stages.proposal import add_proposal
from jepa_ros.planar.map_head import map_part
from jepa_ros.progress import Progress
from jepa_ros.world_model import WorldModel

OPTIONS = dict(word.split("=") for word in sys.argv[3:])
LOSSES = {}


def report(phase, step, total, values):
    LOSSES.setdefault(phase, []).append(values)


def mishap(number):
    """What befalls the second process."""
    if ranks.rank() != 1 or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        return
    if str(number) == OPTIONS.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if str(number) == OPTIONS.get("hang"):
        time.sleep(600)


class Trainer(training.RepresentationTrainer):
    """Ours, to which mishaps occur."""

    def step(self, number, inputs, actions):
        mishap(number)
        return super().step(number, inputs, actions)


def main():
    torch.set_num_threads(1)
    data, out = Dataset(sys.argv[1]), Path(sys.argv[2])
    settings = replace(SETTINGS, batch=BatchShape(4, 2, 6), accumulate=int(OPTIONS.get("accumulate", 1)))
    training.SAVE_EVERY = 5
    with joined("cpu", float(OPTIONS.get("timeout", 120))), Progress(quiet=True) as progress:
        card = training.train(data, out, settings, CONFIG, "cpu", "test", progress, Trainer)
        if "stages" in OPTIONS:
            # The blob is followed by no keypoint after so few steps: the map is taught all the same.
            place_map.FOLLOWS = -1e9
            model = WorldModel(replace(CONFIG, context=(map_part(8, (-2.0, -2.0, 2.0, 2.0)),)))
            model.eval().requires_grad_(False)
            episodes = np.arange(8)
            assert place_map.fit_map(model, data, episodes, 4, 7, report)
            latents = encode_episodes(model, data, episodes, 24)
            model = add_proposal(model, latents, 3, 4, 8, report)
            if ranks.writes():
                save_file(model.state_dict(), out / "stages.safetensors")
        if ranks.writes():
            (out / "losses.json").write_text(json.dumps(LOSSES), encoding="utf-8")
            (out / "processes").write_text(str(card["processes"]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
