# SPDX-License-Identifier: Apache-2.0
"""A released lerobot in a virtual environment of its own, to write and read LeRobot sets as other people do.

It is installed alone, with what its datasets import. The running environment lends torch, numpy, pyarrow and PyAV.
torchvision's compiled part does not fit every build of torch, and no operator of it is used: declaring one by hand lets
its Python part be imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / ".venv-lerobot"
PACKAGES = (
    "lerobot==0.4.4", "datasets==4.8.5", "huggingface_hub==0.35.3", "torchvision==0.25.0", "pandas==2.3.3",
    "accelerate", "aiohttp", "deepdiff", "dill", "draccus", "einops", "fsspec", "hf_xet", "httpx", "jsonlines",
    "multiprocess", "orderly-set", "python-dateutil", "pytz", "pyyaml", "requests", "six", "termcolor", "tqdm",
    "xxhash",
)  # fmt: skip

BEGIN = """
import sys, numpy as np, torch
declared = torch.library.Library("torchvision", "DEF")
declared.define("nms(Tensor d, Tensor s, float t) -> Tensor")
from lerobot.datasets.lerobot_dataset import LeRobotDataset
"""
READ = """
data = LeRobotDataset("own/set", root=sys.argv[1], video_backend="pyav")
keys = [k for k in data[0] if k != "task"]
rows = [data[i] for i in range(len(data))]
found = {k: np.stack([np.asarray(r[k]) for r in rows]) for k in keys}
found |= {f"stats/{f}/{k}": v for f, s in data.meta.stats.items() for k, v in s.items()}
np.savez(sys.argv[2], **found, task=[r["task"] for r in rows], fps=data.meta.fps, episodes=data.num_episodes)
"""
WRITE = """
given = np.load(sys.argv[1])
shape, names = given["pictures"].shape[1:], ["height", "width", "channels"]
data = LeRobotDataset.create("own/set", int(given["fps"]), {
    "observation.images.image": {"dtype": "image", "shape": shape, "names": names},
    "observation.images.side": {"dtype": "video", "shape": shape, "names": names},
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["vx", "vy"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["linear.x", "linear.y"]},
}, root=sys.argv[2], vcodec="h264")
k = 0
for length in given["lengths"]:
    for _ in range(length):
        seen = {f"observation.images.{name}": given["pictures"][k] for name in ("image", "side")}
        felt = {"observation.state": given["state"][k], "action": given["action"][k]}
        data.add_frame(seen | felt | {"task": f"push {length}"})
        k += 1
    data.save_episode()
data.finalize()
"""


def environment() -> Path | None:
    """The interpreter of the environment, which is made where it is not there; None where it cannot be installed."""
    python, mark = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = f"{sys.version_info[:2]} {' '.join(PACKAGES)}"
    if mark.is_file() and mark.read_text() == wanted:
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", FOLDER], check=True, timeout=60)
        (site,) = FOLDER.glob("lib/python*/site-packages")
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (FOLDER / "COLCON_IGNORE").touch()
        install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *PACKAGES]
        subprocess.run(install, check=True, timeout=300, capture_output=True)
    except (subprocess.SubprocessError, OSError):
        return None
    mark.write_text(wanted)
    return python


def run(python: Path, what: str, *arguments: Path | str) -> None:
    """Run READ or WRITE in the environment."""
    environ = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(FOLDER / "home"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    command = [python, "-c", BEGIN + what, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]


def read(python: Path, folder: Path, out: Path) -> dict[str, np.ndarray]:
    """All frames of a set, as the official reader gives them: pictures (N, 3, H, W) in [0, 1]."""
    run(python, READ, folder, out)
    return dict(np.load(out))
