# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros console --foxglove`: a running robot for Foxglove and Lichtblick; `--layout FILE`: their panels."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from jepa_ros.console.foxglove import PORT
from jepa_ros.contract import load_contract
from jepa_ros.errors import JepaRosError
from jepa_ros.files import write_text
from jepa_ros.names import prefix

APPS = "open https://app.foxglove.dev or Lichtblick, 'Open connection', 'Foxglove WebSocket'"


def main(args: argparse.Namespace) -> int:
    """Write the layout, or serve until Ctrl-C."""
    given = [f"--{name}" for name in ("bag", "model", "token", "certificate", "key") if getattr(args, name)]
    if given or args.host != "127.0.0.1":
        raise JepaRosError(
            f"{given[0] if given else '--host'} is not for the bridge: it shows a running robot to this machine alone, "
            f"for its protocol has no tokens. From elsewhere: ssh -L {PORT}:localhost:{PORT} ROBOT"
        )
    contract = load_contract(args.robot or "arena")
    port, namespace = args.port or PORT, prefix(args.namespace)
    if args.layout is not None:
        from jepa_ros.console.foxglove.layout import layout

        write_text(args.layout, json.dumps(layout(contract, namespace), indent=1) + "\n")
        print(f"{args.layout}: import it in Foxglove or Lichtblick ('Import from file' in the list of layouts)")
        return 0
    from jepa_ros.console.foxglove import installed

    if (executable := installed.find()) is not None:
        print(f"foxglove_bridge of this ROS on ws://localhost:{port}: {APPS}", flush=True)
        sys.stdout.flush()
        os.execv(executable, installed.words(executable, namespace, port, args.control, args.use_sim_time))
    from jepa_ros.console.foxglove.bridge import Bridge

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    bridge = Bridge(contract, namespace, port, args.control, args.use_sim_time)
    try:
        says = "may command" if args.control else "look, and may stop"
        print(f"bridge of {contract.name} on ws://localhost:{bridge.server.port}, clients {says}: {APPS}", flush=True)
        ended.wait()
    finally:
        bridge.close()
    return 0
