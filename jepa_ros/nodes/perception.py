# SPDX-License-Identifier: Apache-2.0
"""The ``perception`` node: the image that begins a control step becomes a latent, published with the image's stamp.

The step clock (:mod:`jepa_ros.agent.step_clock`) chooses the images; the others are not encoded, nor unpacked. Of
further cameras that the model sees, and of states that it takes, the newest at or before that image counts
(:mod:`jepa_ros.agent.senses`). The node publishes ``embedding`` (32FC1, one token a row), ``model_id`` (latched) and,
after each image, ``~/heartbeat``. A picture that the model cannot take is refused by name; until one can be taken there
is no heartbeat, so that the gate stops. ``~/status`` says once a step how long encoding took (``encode_s``), or why the
image was refused, and how many images came (``images``) and were encoded (``encoded``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from jepa_ros.agent.senses import Senses
from jepa_ros.agent.step_clock import StepClock
from jepa_ros.contract import Camera, load_contract
from jepa_ros.contract.topics import STATE_TYPES
from jepa_ros.errors import JepaRosError
from jepa_ros.messages.images import pixels as pixels_of
from jepa_ros.messages.images import raw_image
from jepa_ros.messages.joints import JointStates, robot_joints
from jepa_ros.messages.stamps import stamp_of
from jepa_ros.messages.state import odom_in
from jepa_ros.messages.types import message_class
from jepa_ros.nodes import params, qos
from jepa_ros.nodes.convert import latent_to_image
from jepa_ros.nodes.lifecycle import ManagedNode
from jepa_ros.nodes.models import LOADING, load
from jepa_ros.nodes.pictures import picture_in
from jepa_ros.nodes.process import leave, run

if TYPE_CHECKING:  # and the memory with it
    from jepa_ros.memory.knowledge import Picture

PARAMS = (
    params.ROBOT,
    *LOADING,
    params.Param("compressed", False, "Subscribe to image/compressed, whatever the contract says."),
)


@dataclass(frozen=True)
class Begun:
    """An image that begins a step of a node's robot, unpacked in so many seconds, and not encoded yet."""

    node: PerceptionNode
    message: Image | CompressedImage
    stamp: float
    inputs: Any
    seconds: float


def answer(several: Sequence[Begun]) -> None:
    """Encode images of nodes that share a model in one pass, and hand each latent on; the oldest image first."""
    present = sorted((b for b in several if b.node.active), key=lambda b: b.stamp)
    if not present:
        return
    started = time.perf_counter()
    latents = present[0].node.encode_together([b.inputs for b in present])
    seconds = (time.perf_counter() - started) / len(present)
    for begun, latent in zip(present, latents, strict=True):
        begun.node.publish(begun, latent, begun.seconds + seconds)


class PerceptionNode(ManagedNode):
    """See the module.

    Attributes:
        gather: called with each image that begins a step, in the place of encoding it; who gathers, calls `answer`.
        listener: called with (latent (tokens, width) float32, stamp [s], what gives the picture) before the latent is
            published; the composed process hands it to the planner this way, with no hop between them.
    """

    def __init__(self, also_known: Iterable[str] = (), **options: Any) -> None:
        super().__init__("perception", PARAMS, also_known, **options)
        self.listener: Callable[[NDArray[np.float32], float, Picture], None] | None = None
        self.gather: Callable[[Begun], None] | None = None
        self._out = qos.publisher(self, Image, "embedding", qos.EMBEDDING)
        self._id_out = qos.publisher(self, String, "model_id", qos.LATCHED)
        self._status_out = qos.publisher(self, DiagnosticArray, "~/status", qos.STATUS)
        self._entities: list[Any] = []
        self._kinds: dict[str, Any] = {}
        self._perception: Any = None
        self._refused = False
        self._images = self._encoded = 0

    def configure(self) -> None:
        """Load the model and encode once, so that the first image is as fast as the others."""
        from jepa_ros.perception import Perception
        from jepa_ros.perception.state import model_state

        self._contract = contract = load_contract(self.values.robot)
        model, _card, self._identity = load(self.values, contract)
        self._perception, self._state_vectors = Perception(model, contract), model_state
        self._senses = Senses(contract)
        self._step_clock = StepClock(contract.rate, self._senses.first.rate)
        pictures = {c.name: np.zeros((c.height, c.width, 3), np.uint8) for c in contract.model_cameras}
        nothing = {s.name: np.zeros(len(s.values), np.float32) for s in contract.model_state}
        for _ in range(3):
            self._perception.encode(pictures, state=nothing)
        for camera in contract.model_cameras:
            first = camera is self._senses.first
            self._listen_to(camera, self._on_image if first else partial(self._on_further, camera.name))
        joints = JointStates(robot_joints(contract))
        for name in self._senses.states:
            heard = partial(self._on_joints, joints) if name == "joint_states" else self._on_odom
            kind = message_class(STATE_TYPES[name])
            self._entities.append(qos.subscription(self, kind, contract.state[name].topic, heard, qos.STATE))
        self._id_out.publish(String(data=self._identity))

    def _listen_to(self, camera: Camera, callback: Callable[[bytes], None]) -> None:
        """Subscribe to a camera, to its bytes: an image that begins no step is not unpacked."""
        compressed = camera.compressed or (self.values.compressed and camera is self._senses.first)
        kind = self._kinds[camera.name] = CompressedImage if compressed else Image
        topic = f"{camera.topic}/compressed" if compressed else camera.topic
        self._entities.append(qos.subscription(self, kind, topic, callback, qos.IMAGE, raw=True))

    def release(self) -> None:
        """Stop listening and let go of the model."""
        for entity in self._entities:
            self.destroy_subscription(entity)
        self._entities = []
        self._perception = None

    def on_active(self, active: bool) -> None:
        """Begin the steps anew with the next image."""
        self._step_clock.reset()
        self._senses.reset()
        self._refused = False

    def _on_further(self, name: str, data: bytes) -> None:
        """An image of a camera that begins no steps."""
        try:
            self._senses.take(name, raw_image(data).stamp, data)
        except JepaRosError as error:
            self.get_logger().error(f"image of '{name}' refused: {error}", throttle_duration_sec=2.0)

    def _on_joints(self, joints: JointStates, message: JointState) -> None:
        measured = joints.take(message, stamp_of(message), 0.0)
        if measured is not None:
            self._senses.take("joint_states", measured.stamp, measured)

    def _on_odom(self, message: Odometry) -> None:
        self._senses.take("odom", stamp_of(message), odom_in(message, self._contract))

    def _on_image(self, data: bytes) -> None:
        if not self.active:
            return
        try:
            stamp = raw_image(data).stamp
        except JepaRosError as error:
            self.get_logger().error(f"image refused: {error}", throttle_duration_sec=2.0)
            return
        self._images += 1
        if not self._step_clock.begins_step(stamp):
            if not self._refused:
                self.beat(self._identity)
            return
        first = self._senses.first.name
        message = deserialize_message(data, self._kinds[first])
        try:
            further, measured = self._senses.at(stamp)
            pictures = {name: pixels_of(deserialize_message(raw, self._kinds[name])) for name, raw in further.items()}
            pictures[first] = pixels_of(message)
            started = time.perf_counter()
            inputs = self._perception.inputs(pictures, state=self._state_vectors(self._contract, measured))
            begun = Begun(self, message, stamp, inputs, time.perf_counter() - started)
        except JepaRosError as error:
            self._refused = True
            self.get_logger().error(f"image refused: {error}", throttle_duration_sec=2.0)
            self._tell(message, DiagnosticStatus.ERROR, f"image refused: {error}", {})
            return
        if self.gather is not None:
            self.gather(begun)
        else:
            answer([begun])

    def encode_together(self, several: Sequence[Any]) -> NDArray[np.float32]:
        """The latents (n, tokens, width) of the inputs of several nodes with this one's model."""
        return np.asarray(self._perception.encode_together(several))

    def publish(self, begun: Begun, latent: NDArray[np.float32], seconds: float) -> None:
        """Hand on the latent of a step, which took so long to encode [s]."""
        message, stamp = begun.message, begun.stamp
        self._refused = False
        self._encoded += 1
        if self.listener is not None:
            self.listener(latent, stamp, partial(picture_in, message))
        out = Image()
        out.header = message.header
        self._out.publish(latent_to_image(out, latent))
        self.beat(self._identity)
        counts = {"images": str(self._images), "encoded": str(self._encoded)}
        self._tell(message, DiagnosticStatus.OK, "", {"encode_s": f"{seconds:.6f}", **counts})

    def _tell(self, image: Image | CompressedImage, level: bytes, text: str, values: dict[str, str]) -> None:
        """Publish what became of an image."""
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticArray(status=[DiagnosticStatus(level=level, name="perception", message=text, values=pairs)])
        status.header = image.header
        self._status_out.publish(status)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the exit code."""
    return run(lambda: [PerceptionNode()], "perception", args)


if __name__ == "__main__":
    leave(main())
