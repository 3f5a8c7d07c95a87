# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros console`: the operator's page, served from the robot; a browser on a phone or a screen shows it."""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import signal
from pathlib import Path

from jepa_ros.commands.options import namespace, whole
from jepa_ros.errors import JepaRosError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--robot", default="arena", help="contract: a name or a YAML file (default: %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="of the robot's nodes")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=whole(1, 65535), default=8765, help="port (default: %(default)s)")
    parser.add_argument("--token", default="", help="asked of every page; on a network one is made up if none is given")
    parser.add_argument("--certificate", type=Path, help="TLS certificate (PEM), with --key")
    parser.add_argument("--key", type=Path, help="key of the certificate (PEM)")
    parser.add_argument("--use-sim-time", action="store_true", help="the robot's time is /clock")


def main(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise JepaRosError("the console needs uvicorn and starlette: pip install 'jepa_ros[console]'") from None
    from jepa_ros.console.robot import Robot
    from jepa_ros.console.server import MAX_MESSAGE, Console
    from jepa_ros.contract import load_contract

    if bool(args.certificate) != bool(args.key):
        raise JepaRosError("--certificate and --key come together")
    for path in (args.certificate, args.key):
        if path is not None and not path.is_file():
            raise JepaRosError(f"{path}: no such file")
    alone = _is_loopback(args.host)
    token = args.token or ("" if alone else secrets.token_urlsafe(16))
    contract = load_contract(args.robot)
    secure = args.certificate is not None
    robot = Robot(contract, args.namespace, args.use_sim_time)
    try:
        console = Console(robot, token, LOOPBACK if alone else (), secure)
        config = uvicorn.Config(
            console.app(), host=args.host, port=args.port, log_level="warning", ws_max_size=MAX_MESSAGE,
            ws_ping_interval=2.0, ws_ping_timeout=4.0, timeout_graceful_shutdown=1,
            ssl_certfile=args.certificate, ssl_keyfile=args.key,
        )  # fmt: skip
        server = uvicorn.Server(config)
        shown = "localhost" if alone else args.host
        query = f"/?token={token}" if token else "/"
        print(f"console of {contract.name}: {'https' if secure else 'http'}://{shown}:{args.port}{query}", flush=True)
        if not alone and not secure:
            print("  not encrypted: whoever listens on this network can read the token; see --certificate", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
        try:
            server.run()
        except SystemExit:
            raise JepaRosError(f"cannot listen on port {args.port} of {args.host}: is it taken? see --port") from None
    finally:
        robot.close()
    return 0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise JepaRosError(f"--host {host}: expected an IP address of this machine, or localhost") from None
