# SPDX-License-Identifier: Apache-2.0
"""Images between processes, by transport: how many arrive, how late, and the load; one publisher, two subscribers.

As a program (``python -m jepa_ros.bench.transports publish|listen WIDTH HEIGHT RATE SECONDS``) one of the processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from jepa_ros.ros_env import LARGE_PROFILE, TRANSPORT_CHOICES, UDP_PROFILE, reserved_domain, ros_environment

#: {what: the Fast DDS profile}; "" is what Fast DDS does by itself: shared memory with a segment of 512 kB.
TRANSPORTS = {"UDP": str(UDP_PROFILE), "shared memory": "", "shared memory, 16 MB": str(LARGE_PROFILE)}
LISTENERS = 2
#: s that the end of the images is told for, at the latest.
PATIENCE = 60.0


def compare(width: int, height: int, rate: float, seconds: float) -> dict[str, dict[str, Any]]:
    """{transport: what came of it}: share of the images that arrived (the worse listener), ms from publishing to the
    callback (p50, p99, of both), CPU time of publisher and listeners [% of a core]."""
    return {name: _one(profile, width, height, rate, seconds) for name, profile in TRANSPORTS.items()}


def _one(profile: str, *sizes: float) -> dict[str, Any]:
    with reserved_domain() as domain:
        environment = ros_environment(ROS_DOMAIN_ID=str(domain))
        environment[TRANSPORT_CHOICES[0]] = profile  # empty: none
        command = [sys.executable, "-m", "jepa_ros.bench.transports"]
        words = [str(size) for size in sizes]
        roles = ["listen"] * LISTENERS + ["publish"]
        running = [
            subprocess.Popen([*command, role, *words], env=environment, stdout=subprocess.PIPE, text=True)
            for role in roles
        ]
        try:
            told = [json.loads(process.communicate(timeout=3.0 * PATIENCE + sizes[-1])[0]) for process in running]
        finally:
            for process in running:
                process.kill()
    *listeners, publisher = told
    late = np.concatenate([listener["ms"] for listener in listeners])
    return {
        "sent": publisher["sent"], "arrived": min(len(listener["ms"]) for listener in listeners) / publisher["sent"],
        "ms": {"p50": float(np.median(late)), "p99": float(np.percentile(late, 99))} if len(late) else None,
        "cpu_publisher": publisher["cpu"], "cpu_listeners": [listener["cpu"] for listener in listeners],
    }  # fmt: skip


def report(size: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """As text."""
    lines = [f"images of {size}: arrived, ms p50 / p99, CPU of publisher and of each listener"]
    for name, r in found.items():
        ms = "-" if r["ms"] is None else f"{r['ms']['p50']:.1f} / {r['ms']['p99']:.1f}"
        load = ", ".join(f"{cpu:.1f} %" for cpu in (r["cpu_publisher"], *r["cpu_listeners"]))
        lines.append(f"  {name:22} {100 * r['arrived']:5.1f} %   {ms:>14}   {load}")
    return lines


# ---------------------------------------------------------------- one of the processes


def main(role: str, width: int, height: int, rate: float, seconds: float) -> dict[str, Any]:
    """Publish or listen; returns what is told."""
    import rclpy
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    from jepa_ros.nodes import qos
    from jepa_ros.nodes.convert import fill, to_seconds, to_stamp

    rclpy.init()
    node = rclpy.create_node(f"{role}_{os.getpid()}")
    if role == "listen":
        late, ended = list[float](), list[Any]()
        node.create_subscription(
            Image, "image", lambda m: late.append(1e3 * (time.time() - to_seconds(m.header.stamp))), qos.IMAGE
        )
        node.create_subscription(String, "end", ended.append, qos.LATCHED)
        begun, end = time.monotonic(), time.monotonic() + 2.0 * PATIENCE + seconds
        used = time.process_time()
        while not ended and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
            if not late:
                begun, used = time.monotonic(), time.process_time()
        return {"ms": late, "cpu": 100.0 * (time.process_time() - used) / max(time.monotonic() - begun, 1e-3)}
    images, ended_out = (
        qos.publisher(node, Image, "image", qos.IMAGE),
        node.create_publisher(String, "end", qos.LATCHED),
    )
    end = time.monotonic() + PATIENCE
    while images.get_subscription_count() < LISTENERS and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    begun, used, sent = time.monotonic(), time.process_time(), int(seconds * rate)
    for k in range(sent):
        time.sleep(max(0.0, begun + k / rate - time.monotonic()))
        message = fill(Image(), pixels, "rgb8")
        message.header.stamp = to_stamp(time.time())
        images.publish(message)
    load = 100.0 * (time.process_time() - used) / (time.monotonic() - begun)
    time.sleep(1.0)  # what is on its way still counts
    ended_out.publish(String(data="end"))
    ended_out.wait_for_all_acked()
    return {"sent": sent, "cpu": load}


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    print(json.dumps(main(what, int(numbers[0]), int(numbers[1]), float(numbers[2]), float(numbers[3]))))
