# SPDX-License-Identifier: Apache-2.0
"""`jepa-ros console`: the page of a running robot or of a recorded bag, for a browser on a phone or a screen."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jepa_ros.errors import JepaRosError
from jepa_ros.options import namespace, whole

if TYPE_CHECKING:
    from starlette.applications import Starlette

PORT = 8765
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--robot", help="contract: a name or a YAML file (default: arena, or the one in the bag)")
    parser.add_argument("--bag", metavar="BAG", help="look at a recorded bag instead of a robot, and think again")
    parser.add_argument(
        "--bags", type=Path, default=Path(), metavar="DIR", help="bags that the page offers lie under it (default: .)"
    )
    parser.add_argument("--model", default="", help="checkpoint for moments of bags (default: the robot's)")
    parser.add_argument("--namespace", type=namespace, default="", help="of the robot's nodes")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=whole(1, 65535), help="port (default: 8765, of --foxglove 8766)")
    parser.add_argument("--token", default="", help="asked of every page; on a network one is made up if none is given")
    parser.add_argument("--certificate", type=Path, help="TLS certificate (PEM), with --key")
    parser.add_argument("--key", type=Path, help="key of the certificate (PEM)")
    parser.add_argument("--foxglove", action="store_true", help="a bridge for Foxglove and Lichtblick, not the page")
    parser.add_argument("--control", action="store_true", help="with --foxglove: it may command, and not only stop")
    parser.add_argument("--layout", type=Path, metavar="FILE", help="write a layout for Foxglove, and end")
    parser.add_argument("--use-sim-time", action="store_true", help="the robot's time is /clock")


def main(args: argparse.Namespace) -> int:
    """Serve the page, or the bridge, until Ctrl-C."""
    if args.control and not args.foxglove:
        raise JepaRosError("--control is for the bridge: give --foxglove too")
    if args.layout is not None or args.foxglove:
        from jepa_ros.commands import console_foxglove

        return console_foxglove.main(args)
    args.port = args.port or PORT
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise JepaRosError("the console needs uvicorn and starlette: pip install 'jepa_ros[console]'") from None
    from jepa_ros.console.server import MAX_MESSAGE

    if bool(args.certificate) != bool(args.key):
        raise JepaRosError("--certificate and --key come together")
    for path in (args.certificate, args.key):
        if path is not None and not path.is_file():
            raise JepaRosError(f"{path}: no such file")
    alone = _is_loopback(args.host)
    token = args.token or ("" if alone else secrets.token_urlsafe(16))
    secure = args.certificate is not None
    with _shown(args, token, LOOPBACK if alone else (), secure) as (title, app):
        config = uvicorn.Config(
            app, host=args.host, port=args.port, log_level="warning", ws_max_size=MAX_MESSAGE,
            ws_ping_interval=2.0, ws_ping_timeout=4.0, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
            ssl_certfile=args.certificate, ssl_keyfile=args.key,
        )  # fmt: skip
        server = uvicorn.Server(config)
        shown = "localhost" if alone else args.host
        query = f"/?token={token}" if token else "/"
        print(f"console of {title}: {'https' if secure else 'http'}://{shown}:{args.port}{query}", flush=True)
        if not alone and not secure:
            print("  not encrypted: whoever listens on this network can read the token; see --certificate", flush=True)
        # uvicorn would end in the middle at the second Ctrl-C: under ros2 launch each process gets two.
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, lambda *_: setattr(server, "should_exit", True))
        try:
            server.run()
        except SystemExit:
            raise JepaRosError(f"cannot listen on port {args.port} of {args.host}: is it taken? see --port") from None
    return 0


@contextlib.contextmanager
def _shown(
    args: argparse.Namespace, token: str, hosts: tuple[str, ...], secure: bool
) -> Iterator[tuple[str, Starlette]]:
    """What the page is about, and the application: of a running robot, or of a bag."""
    if args.bag is not None:
        if args.use_sim_time:
            raise JepaRosError("--use-sim-time is for a running robot, not for a bag")
        import torch

        from jepa_ros.console import afterwards_server
        from jepa_ros.console.afterwards import open_bag

        torch.set_num_threads(1)  # as `jepa-ros replay`: the same sums in the same order
        with contextlib.closing(open_bag(args.bag, args.robot, args.model, args.namespace)) as bag:
            yield args.bag, afterwards_server.app(bag, token, hosts, secure)
        return
    from jepa_ros.console.robot import Robot
    from jepa_ros.console.server import Console
    from jepa_ros.console.shelf import Shelf
    from jepa_ros.worlds import contract_of

    contract = contract_of(args.robot or "arena")
    if not args.bags.is_dir():
        raise JepaRosError(f"--bags {args.bags}: no such folder")
    shelf = Shelf(args.bags, args.model, args.namespace)
    robot = Robot(contract, args.namespace, args.use_sim_time)
    try:
        yield contract.name, Console(robot, token, hosts, secure, shelf).app()
    finally:
        robot.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise JepaRosError(f"--host {host}: expected an IP address of this machine, or localhost") from None
