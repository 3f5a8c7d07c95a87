# SPDX-License-Identifier: Apache-2.0
"""The recorder as a child process, for programs that want a bag of what they do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.ros_env import ros_environment


class Recorder:
    """The recorder as a child process.

        with Recorder("runs/x/bag", topics=["image", "cmd_vel"], robot="arena") as recorder:
            ...
        recorder.report["dropped"]

    `start` returns when the bag's folder is there and recording has begun.
    """

    def __init__(
        self,
        output: str | Path,
        topics: tuple[str, ...] | list[str] = (),
        *,
        robot: str | Path | None = None,
        model: str | Path | None = None,
        namespace: str = "",
        extra: list[str] | None = None,
        env: dict[str, str] | None = None,
        log: str | Path | None = None,
    ) -> None:
        """Describe the recording: `topics` () means all, `extra` are further arguments of the command.

        `log` is a file for the process's output (default: nowhere but in error messages).
        """
        self.output = Path(output)
        self.report: dict = {}
        self._process: subprocess.Popen | None = None
        self._env, self._log_path = env, log
        handle, name = tempfile.mkstemp(prefix="jepa_ros_record_", suffix=".json")
        os.close(handle)
        os.unlink(name)
        self._json = Path(name)
        self._command = [sys.executable, "-m", "jepa_ros.bags.record", "--output", str(output), "--json", name]
        self._heard = self._json.with_suffix(".heard")
        self._command += ["--quiet", "--die-with-parent", "--heard", str(self._heard)]
        for flag, value in (("--robot", robot), ("--model", model), ("--namespace", namespace)):
            self._command += [flag, str(value)] if value else []
        self._command += [*(extra or []), *topics]

    @property
    def pid(self) -> int | None:
        """The process, or None before `start`."""
        return self._process.pid if self._process else None

    def start(self, timeout: float = 20.0) -> Recorder:
        """Start and wait until it records.

        Raises:
            BagError: it ended at once (its own message) or did not begin in `timeout` seconds.
        """
        if self.output.exists():
            raise BagError(f"{self.output} exists already: choose another folder, or remove it first")
        self._log = open(self._log_path, "w+") if self._log_path else tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env=ros_environment(self._env),
            start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + timeout
        while not (self.output / "metadata.yaml").exists() and not ("--ring" in self._command and self.output.exists()):
            if self._process.poll() is not None:
                raise BagError(f"the recorder ended at its start: {self._tail()}")
            if time.monotonic() > end:
                self.kill()
                raise BagError(f"the recorder did not start within {timeout} s: {self._tail()}")
            time.sleep(0.02)
        return self

    def _tail(self) -> str:
        self._log.seek(0)
        return " ".join(self._log.read().split())[-600:].removeprefix("error: ")

    def heard(self, topic: str) -> int:
        """How many messages of a topic (its full name) were received, as of half a second ago."""
        try:
            return int(json.loads(self._heard.read_text(encoding="utf-8")).get(topic, 0))
        except FileNotFoundError:
            return 0

    def alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float = 30.0) -> dict:
        """End the recording and wait; returns the report.

        Raises:
            BagError: the recording ended with an error (its message), or had to be killed.
        """
        if self._process is None:
            raise BagError("the recorder was not started")
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BagError(f"{self.output}: the recorder did not end within {timeout} s and was killed") from None
        if self._json.exists():
            self.report = json.loads(self._json.read_text())
            self._json.unlink()
        self._heard.unlink(missing_ok=True)
        message = self._tail()
        self._log.close()
        if code != 0:
            raise BagError(message or f"{self.output}: the recorder ended with code {code}")
        return self.report

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._heard.unlink(missing_ok=True)

    def __enter__(self) -> Recorder:
        """Start."""
        return self.start()

    def __exit__(self, kind, value, trace) -> None:
        """Stop; an error of the block is not hidden by one of the recorder."""
        if kind is None:
            self.stop()
        else:
            with contextlib.suppress(BagError):
                self.stop()
