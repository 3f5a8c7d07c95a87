# SPDX-License-Identifier: Apache-2.0
"""Fused rollouts and readouts on the CPU: packs a model's weights for native.c and calls it.

native.c is compiled once for this machine, with the C compiler at hand, into a cache folder; where that is not possible
(no compiler, another system) `load_library` says why and the callers do without. It has threads of its own, see
native_threads.h.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jepa_ros.errors import JepaRosError
from jepa_ros.world_model.way_head import SCALE

LANES = 16
MAX_WIDTH = 1024  # rows of a block live on the stack
SOURCE = Path(__file__).with_name("native.c")
SOURCES = (SOURCE, SOURCE.with_name("native_threads.h"))
FLAGS = ("-O3", "-march=native", "-pthread", "-shared", "-fPIC", "-std=gnu11")


class NativeError(JepaRosError):
    """No fused code for this machine or model; the message says why."""


def cpu_flags() -> set[str]:
    """Feature words of the processor, empty where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in a way that native.c knows."""
    return {"avx512_bf16", "avx512f", "avx512bw", "avx512vl"} <= cpu_flags()


def cache_folder() -> Path:
    """Where compiled code is kept: $JEPA_ROS_CACHE, else $XDG_CACHE_HOME/jepa_ros, else ~/.cache/jepa_ros."""
    if folder := os.environ.get("JEPA_ROS_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jepa_ros"


@functools.lru_cache(maxsize=4)
def load_library(dtype: str) -> ctypes.CDLL:
    """The compiled native.c for "float32" or "bfloat16"; compiles it (a second or two) the first time on a machine.

    Raises:
        NativeError: no compiler, it failed, or the processor has no bfloat16.
    """
    if dtype == "bfloat16" and not has_bfloat16():
        raise NativeError("this processor has no AVX512-BF16")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NativeError("no C compiler (cc, gcc or clang) was found")
    define = ("-DBF16",) if dtype == "bfloat16" else ()
    key = repr(([p.read_bytes() for p in SOURCES], FLAGS, define, compiler, platform.machine(), sorted(cpu_flags())))
    name = f"native-{dtype}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        library = ctypes.CDLL(str(_compiled(cache_folder(), name, [compiler, *FLAGS, *define])))
    except OSError as error:
        raise NativeError(f"compiled code cannot be used: {error}") from None
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.mlp.argtypes = [pointer, integer, integer, pointer, integer, integer, pointer, integer, integer]
    library.rollout.argtypes = [pointer, integer, integer, *[pointer] * 5, integer, integer, integer, pointer, integer]
    library.rms.argtypes = [pointer, pointer, integer, integer, pointer]
    for function in (library.mlp, library.rollout, library.rms):
        function.restype = None
    return library


def _compiled(folder: Path, name: str, command: list[str]) -> Path:
    """Compile into the folder (or, where it cannot be written, a temporary one) unless that was done before."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="jepa_ros-"))
    target = folder / name
    if target.is_file():
        return target
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".so", delete=False) as file:
        temporary = Path(file.name)
    try:
        run = subprocess.run([*command, str(SOURCE), "-o", str(temporary), "-lm"], capture_output=True, text=True)
        if run.returncode:
            raise NativeError(f"{command[0]} could not compile {SOURCE.name}: {run.stderr.strip()[-300:]}")
        temporary.replace(target)  # whole or not at all, also when several processes start at once
    finally:
        temporary.unlink(missing_ok=True)
    return target


class _Layer(ctypes.Structure):
    _fields_ = [
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]  # fmt: skip


def _ceil(count: int) -> int:
    return -(-count // LANES) * LANES


def relu_mlp(net: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(weight (out, in), bias (out,)) of each layer of a Sequential of Linear and ReLU in turn.

    Raises:
        NativeError: it is something else.
    """
    layers = list(net) if isinstance(net, nn.Sequential) else []
    linear = [m for m in layers[0::2] if isinstance(m, nn.Linear) and m.bias is not None]
    between = [m for m in layers[1::2] if isinstance(m, nn.ReLU)]
    if not linear or len(linear) + len(between) != len(layers) or len(linear) != len(between) + 1:
        raise NativeError("the network is not Linear and ReLU in turn")
    if max(m.out_features for m in linear) > MAX_WIDTH or linear[0].in_features > MAX_WIDTH:
        raise NativeError(f"the network is wider than {MAX_WIDTH}")
    return [(m.weight.detach().float().cpu(), m.bias.detach().float().cpu()) for m in linear]


class PackedMlp:
    """A multilayer perceptron in the layout of native.c: panels of 16 columns, (panel, input pair, column, 2).

    Args:
        layers: (weight, bias) of each layer. dtype: "float32" or "bfloat16". threads: to compute with.
        rows: for each input of the first layer its place among the padded inputs; columns: likewise, last outputs.
    """

    def __init__(
        self, layers, dtype: str, threads: int = 1, rows: list[int] | None = None, columns: list[int] | None = None
    ) -> None:  # fmt: skip
        self.library, self.threads = load_library(dtype), threads
        self.depth = len(layers)
        self.outputs = layers[-1][0].shape[0]
        self.inputs = layers[0][0].shape[1]
        self.structs = (_Layer * self.depth)()
        self._keep: list[torch.Tensor] = []
        for d, (weight, bias) in enumerate(layers):
            out, inn = weight.shape
            places_in = rows if d == 0 and rows else list(range(inn))
            places_out = columns if d == self.depth - 1 and columns else list(range(out))
            width_in, width_out = _ceil(max(places_in) + 1), _ceil(max(places_out) + 1)
            wide = torch.zeros(width_in, width_out)
            wide[torch.tensor(places_in)[:, None], torch.tensor(places_out)[None, :]] = weight.T
            padded_bias = torch.zeros(width_out)
            padded_bias[torch.tensor(places_out)] = bias
            self._add(d, _pack(wide, dtype), padded_bias)
        self.width = max(max(s.inputs, s.outputs) for s in self.structs)

    def _add(self, index: int, packed: torch.Tensor, bias: torch.Tensor) -> None:
        struct = self.structs[index]
        struct.inputs, struct.outputs = packed.shape[1] * packed.shape[3], packed.shape[0] * LANES
        struct.weights, struct.bias = packed.data_ptr(), bias.data_ptr()
        self._keep += [packed, bias]
        if index == 0:
            self.first_bias = bias

    def __call__(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """x (rows, inputs) float32 contiguous -> out (rows, outputs)."""
        rows, inputs = x.shape
        self.library.mlp(
            self.structs, self.depth, self.width, x.data_ptr(), rows, inputs, out.data_ptr(), self.outputs,
            self.threads,
        )  # fmt: skip
        return out


def _pack(wide: torch.Tensor, dtype: str) -> torch.Tensor:
    """(in, out) -> (out / 16, in / step, 16, step), aligned to a cache line."""
    step = 2 if dtype == "bfloat16" else 1
    inn, out = wide.shape
    packed = wide.view(inn // step, step, out // LANES, LANES).permute(2, 0, 3, 1).contiguous()
    packed = packed.to(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    room = torch.empty(packed.numel() + 64, dtype=packed.dtype)
    offset = (-room.data_ptr() % 64) // packed.element_size()
    return room[offset : offset + packed.numel()].view(packed.shape).copy_(packed)


class NativeRollout:
    """`Rollout` (see rollout.py) of a model whose predictor is a residual ReLU MLP.

    Args:
        model: has `predictor.layers`, inputs (z, action, noise, h), outputs (dz, h before tanh).
        candidates, samples, horizon: sizes to make room for. dtype: "float32" or "bfloat16".
        threads: to compute with.

    Raises:
        NativeError: see `load_library` and `relu_mlp`.
    """

    def __init__(self, model, candidates: int, samples: int, horizon: int, dtype: str, threads: int = 1) -> None:
        c = model.config
        layers = relu_mlp(getattr(getattr(model, "predictor", None), "layers", None))
        d, s, a, n = c.latent_dim, c.state_dim, c.action_dim, c.noise_dim
        if layers[0][0].shape[1] != d + a + n + s or layers[-1][0].shape[0] != d + s:
            raise NativeError("the predictor's inputs are not (latent, action, noise, state)")
        dp, sp = _ceil(d), _ceil(s)
        rows = [*range(d), *range(dp + sp, dp + sp + a + n), *range(dp, dp + s)]
        self._net = PackedMlp(layers, dtype, threads, rows, [*range(d), *range(dp, dp + s)])
        self._dims = (ctypes.c_int * 4)(d, s, a, n)
        self._zs = torch.empty(candidates * samples * horizon * d)
        self.name = f"native {dtype}"

    def __call__(self, z, h, actions, noise):
        count, horizon, _ = actions.shape
        samples = 1 if noise is None else noise.shape[0]
        shape = (count, samples, horizon, self._dims[0])
        size = count * samples * horizon * self._dims[0]
        if size > self._zs.numel():
            self._zs = torch.empty(size)
        zs = self._zs[:size].view(shape)
        z, h, actions = z.contiguous(), h.contiguous(), actions.contiguous()
        noise = None if noise is None else noise.contiguous()
        net = self._net
        net.library.rollout(
            net.structs, net.depth, net.width, self._dims, z.data_ptr(), h.data_ptr(), actions.data_ptr(),
            None if noise is None else noise.data_ptr(), count, samples, horizon, zs.data_ptr(),
            net.threads,
        )  # fmt: skip
        return zs


class NativeReadouts:
    """A model's readouts through native.c, for many latents at once; everything else is the model's own.

    The goal's half of the first layer of a readout of a pair is computed once a goal, not once a latent.

    Args:
        model: has ``readouts`` and ``heads``, of which the plain ones are ReLU MLPs.
        dtype: "float32" or "bfloat16". threads: to compute with.

    Raises:
        NativeError: see `load_library` and `relu_mlp`.
    """

    def __init__(self, model, dtype: str, threads: int = 1) -> None:
        self._model = model
        self.config = model.config
        self._library = load_library(dtype)
        self._readouts = {name: r for name, r in model.readouts.items() if r.plain}
        self._goals: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # weight and bias of the goal's half
        self._heads: dict[str, PackedMlp] = {}
        for name, readout in self._readouts.items():
            layers = relu_mlp(model.heads[name])
            if readout.pair:
                weight, bias = layers[0]
                dim = self.config.latent_dim
                self._goals[name] = weight[:, dim:].contiguous(), bias
                layers[0] = (weight[:, :dim].contiguous(), bias)
            self._heads[name] = PackedMlp(layers, dtype, threads)
        self._codes = {
            name: PackedMlp(relu_mlp(model.heads[name].layers), dtype, threads)
            for name, r in model.readouts.items()
            if r.loss == "metric"
        }
        self._rooms: dict[tuple[str, int], torch.Tensor] = {}

    def __getattr__(self, name):
        return getattr(self._model, name)

    def read(self, name: str, z: torch.Tensor, goal: torch.Tensor | None = None) -> torch.Tensor:
        """See AnyWorldModel.read, of latents (..., D) and one goal (D,).

        The answer may lie in a buffer that the next call with this name and number of latents overwrites.
        """
        if name in self._codes:
            assert goal is not None  # a distance has one
            return self._model.heads[name].steps(self._code(name, z), self._code(name, goal).clone())
        if name not in self._heads:
            return self._model.read(name, z, goal)
        net = self._heads[name]
        if goal is not None:
            weight, bias = self._goals[name]
            net.first_bias[: bias.shape[0]] = bias + weight @ goal
        flat = z.contiguous().view(-1, z.shape[-1])
        room = self._room(name, flat.shape[0] * net.outputs)
        return self._readouts[name].activate(net(flat, room).view(*z.shape[:-1], net.outputs))

    def _code(self, name: str, z: torch.Tensor) -> torch.Tensor:
        """The codes (..., K) of latents (..., D), in a buffer that the next call with as many overwrites."""
        net, flat = self._codes[name], z.contiguous().view(-1, z.shape[-1])
        room = self._room(name, flat.shape[0] * net.outputs)
        return net(flat, room.view(flat.shape[0], net.outputs)).view(*z.shape[:-1], net.outputs).mul_(SCALE)

    def _room(self, name: str, size: int) -> torch.Tensor:
        if (name, size) not in self._rooms:
            self._rooms[name, size] = torch.empty(size)
        return self._rooms[name, size]

    def latent_rms(self, z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """RMS difference between latents (..., D) and one goal (D,)."""
        z, goal = z.contiguous(), goal.contiguous()
        room = self._room("rms", z.numel() // z.shape[-1])
        self._library.rms(z.data_ptr(), goal.data_ptr(), room.numel(), z.shape[-1], room.data_ptr())
        return room.view(z.shape[:-1])
