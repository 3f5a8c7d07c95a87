# SPDX-License-Identifier: Apache-2.0
"""Reading a guardrail set in a process of its own, so that no text, however long, holds up a tick or a plan.

Parsing YAML and checking polygons takes seconds for the longest texts that are accepted, all of it under the
interpreter's lock. Gate and planner each keep one such process at hand (``python -m jepa_ros.safety.reading FD``) and
send it a text; what comes back is a set that is checked, or the reason why it is refused. It ends with the node.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from jepa_ros.errors import JepaRosError
from jepa_ros.safety.config import GateConfig
from jepa_ros.safety.gate import Gate
from jepa_ros.safety.guardrails import GuardrailError, GuardrailSet, guardrails_for
from jepa_ros.yaml_text import refuse_length

if TYPE_CHECKING:
    from jepa_ros.contract import RobotContract

#: Seconds that a text may take to be read; the longest one takes about 5 on a busy machine.
READ_TIMEOUT = 30.0


class SetReader:
    """The process at hand. Not for several threads at once.

    Args:
        contract: of the robot, whose guardrails an empty text means.
    """

    def __init__(self, contract: RobotContract) -> None:
        self._contract = contract
        self._pipe: Connection | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._start()

    def read(self, text: str, config: GateConfig | None = None) -> GuardrailSet:
        """The set of a text; waits for the process, so that it belongs into a thread.

        Args:
            config: of the gate that is to keep it; None: no gate is.

        Raises:
            JepaRosError: the set cannot be used (as :func:`~jepa_ros.safety.guardrails.guardrails_for` and
                :class:`~jepa_ros.safety.config.GateConfig` say), or it could not be read in time.
        """
        refuse_length(text, "guardrails", GuardrailError)
        if self._pipe is None or self._child is None or self._child.poll() is not None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((self._contract, config, text))
            if not self._pipe.poll(READ_TIMEOUT):
                self.close()
                raise GuardrailError(f"guardrails: {len(text)} characters were not read within {READ_TIMEOUT:.0f} s")
            chosen, refused = self._pipe.recv()
        except (OSError, EOFError):
            self.close()
            raise GuardrailError("guardrails: the process that reads them ended; set them again") from None
        if refused is not None:
            raise GuardrailError(refused)
        assert isinstance(chosen, GuardrailSet)
        return chosen

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._pipe = self._child = None

    def _start(self) -> None:
        self.close()
        ours, theirs = Pipe()
        self._pipe = ours  # type: ignore[assignment]
        fd = theirs.fileno()
        # A session of its own: a Ctrl-C in the terminal is the gate's business.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "jepa_ros.safety.reading", str(fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )
        theirs.close()


def judge(contract: RobotContract, config: GateConfig | None, text: str) -> tuple[GuardrailSet | None, str | None]:
    """The set that a text gives for a robot, or why it is refused."""
    try:
        chosen = guardrails_for(contract, text)
        if config is not None:
            Gate(config.replace(guardrails=chosen))
        str(chosen.hash)  # computed here and kept with the set
        return chosen, None
    except JepaRosError as error:
        return None, str(error)
    except Exception as error:  # a mistake of ours: the node keeps what it has
        return None, f"guardrails: cannot be read: {type(error).__name__}: {error}"


def main(words: Sequence[str]) -> None:
    """Answer what comes through the pipe until it is closed."""
    with contextlib.suppress(OSError):
        os.nice(5)  # behind the gate
    with contextlib.suppress(EOFError, OSError), Connection(int(words[0])) as pipe:
        while True:
            pipe.send(judge(*pipe.recv()))


if __name__ == "__main__":
    main(sys.argv[1:])
