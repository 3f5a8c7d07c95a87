# SPDX-License-Identifier: Apache-2.0
"""Messages say the same whichever library took them apart: every reader is given rclpy's object and rosbags'."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import (
    Pose,
    PoseArray,
    PoseStamped,
    PoseWithCovarianceStamped,
    Twist,
    TwistStamped,
    WrenchStamped,
)
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState, LaserScan
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from benchmarks.rigs.gate.rig import contract_of
from jepa_ros.bags.format.message_types import typestore
from jepa_ros.contract import load_contract
from jepa_ros.messages import MessageError
from jepa_ros.messages.commands import command_in, gate_output
from jepa_ros.messages.diagnostics import identities, key_values, signals_in
from jepa_ros.messages.images import image_in, latent_of, pixels
from jepa_ros.messages.joints import JointStates
from jepa_ros.messages.stamps import raw_stamp, stamp_ns, stamp_of
from jepa_ros.messages.state import odom_in, people_in, planar_pose, pose_in, scan_in, wrench_in
from jepa_ros.nodes.commands import CommandCodec
from jepa_ros.nodes.convert import fill, latent_to_image, set_yaw, to_stamp

ARENA = load_contract("arena")
RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)


def both(message):
    """The message as rclpy has it, and as rosbags takes it out of a bag; and its bytes."""
    data = bytes(serialize_message(message))
    store, module = typestore(), type(message).__module__.split(".")[0]
    kind = store.get_msgdef(f"{module}/msg/{type(message).__name__}")
    stored, _ = kind.deserialize_cdr_le(data[4:], 0, kind.cls, store)  # rclpy leaves room behind some messages
    return deserialize_message(data, type(message)), stored, data


def headed(message, frame="map", at=12.345678901):
    message.header.stamp, message.header.frame_id = to_stamp(at), frame
    return message


def same(a, b):
    if dataclasses.is_dataclass(a):
        a, b = dataclasses.asdict(a), dataclasses.asdict(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, tuple | list) and any(isinstance(v, np.ndarray) for v in a):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert type(a) is type(b) or np.isscalar(a)


def agree(reader, message):
    """What a reader makes of both objects, which has to be one thing."""
    live, stored, _ = both(message)
    first, second = reader(live), reader(stored)
    same(first, second)
    return first


def packed(suffix, image):
    message = headed(CompressedImage(format=suffix))
    message.data.frombytes(cv2.imencode(suffix, image)[1].tobytes())
    return message


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8", "bgra8"])
def test_pixels(encoding):
    sent = {"mono8": PICTURE[..., :1], "rgba8": np.dstack([PICTURE, PICTURE[..., :1]])}.get(encoding, PICTURE)
    sent = np.dstack([PICTURE, PICTURE[..., :1]]) if encoding == "bgra8" else sent
    found, said = agree(pixels, headed(fill(Image(), sent, encoding)))
    assert said == encoding and np.array_equal(found, sent)


def test_padded_rows():
    message = fill(Image(), np.pad(PICTURE.reshape(12, 48), ((0, 0), (0, 7))), "mono8")
    message.encoding, message.width = "rgb8", 16
    assert np.array_equal(agree(pixels, message)[0], PICTURE)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_pixels(suffix):
    assert agree(pixels, packed(suffix, PICTURE))[1] == "bgr8"
    assert agree(pixels, packed(suffix, PICTURE[..., 0]))[1] == "mono8"


def test_a_picture_that_cannot_be_read_is_refused_alike_live_and_from_a_bag():
    broken = fill(Image(), PICTURE, "rgb8")
    broken.height = 40
    for message, said in (
        (fill(Image(), PICTURE, "yuv422"), "image encoding 'yuv422' is not supported"),
        (broken, "needs 1920 bytes of data, found 576"),
        (packed(".bmp", PICTURE), "neither JPEG nor PNG"),
    ):
        for kind in both(message)[:2]:
            with pytest.raises(MessageError, match=said):
                pixels(kind)


def test_latents_and_the_bytes_of_images():
    latent = RNG.standard_normal((3, 8)).astype(np.float32)
    assert np.array_equal(agree(latent_of, headed(latent_to_image(Image(), latent))), latent)
    live, _, data = both(headed(fill(Image(), PICTURE, "rgb8")))
    assert image_in(data, 5.0).stamp == stamp_of(live) and raw_stamp(data) == stamp_ns(live)
    assert agree(stamp_ns, live) == 12_345_678_901


def planar(message, x=0.3, y=-0.7, yaw=2.1):
    message.position.x, message.position.y = x, y
    set_yaw(message.orientation, yaw)


def test_poses_odometry_people_and_forces():
    pose = headed(PoseWithCovarianceStamped())
    planar(pose.pose.pose)
    pose.pose.covariance = RNG.standard_normal(36)
    found = agree(lambda m: pose_in(m, 7.0, latched=True), pose)
    assert found.latched and found.received == 7.0 and found.yaw == pytest.approx(2.1)
    assert np.array_equal(found.cov, pose.pose.covariance.reshape(6, 6)[np.ix_((0, 1, 5), (0, 1, 5))])
    odom = headed(Odometry(), "odom")
    planar(odom.pose.pose)
    odom.twist.twist.linear.x, odom.twist.twist.angular.z = 0.25, -1.5
    assert agree(lambda m: odom_in(m, ARENA), odom).v == [0.25, -1.5]
    odom.twist.twist.linear.y = math.nan
    assert np.isnan(agree(lambda m: odom_in(m, ARENA), odom).v).all()
    odom.pose.pose.orientation.z = odom.pose.pose.orientation.w = 0.0
    assert "zeros" in agree(lambda m: odom_in(m, ARENA), odom).fault
    goal = headed(PoseStamped())
    planar(goal.pose)
    assert agree(planar_pose, goal)[:2] == (0.3, -0.7)
    crowd = headed(PoseArray(poses=[Pose(), Pose()]))
    crowd.poses[1].position.x = 2.5
    assert agree(people_in, crowd).positions == [(0.0, 0.0), (2.5, 0.0)]
    wrench = headed(WrenchStamped())
    wrench.wrench.force.z = -9.5
    assert agree(wrench_in, wrench).force == (0.0, 0.0, -9.5)


def test_scans():
    scan = headed(LaserScan(angle_min=-1.0, angle_increment=0.1, range_min=0.05, range_max=3.0), "laser")
    scan.ranges = [0.5, math.inf, -math.inf, math.nan, 0.0, 1e-3]
    found = agree(scan_in, scan)
    assert found.ranges.dtype == np.float64 and found.ranges[1] == math.inf and math.isnan(found.ranges[3])


def test_signals_and_states():
    pairs = [KeyValue(key=k, value=v) for k, v in (("surprise", "0.5"), ("odd", "x"), ("model_id", "abc"))]
    message = headed(DiagnosticArray(status=[DiagnosticStatus(values=pairs), DiagnosticStatus()]))
    assert agree(key_values, message)["odd"] == "x"
    found = agree(signals_in, message)
    assert found.values["surprise"] == 0.5 and math.isnan(found.values["odd"]) and found.model_id == "abc"
    assert identities(found) == {"model/planner": "abc"}


def test_joint_states():
    message = headed(JointState(name=["j2", "other", "j1"], position=[0.2, 9.0, 0.1], velocity=[2.0, 9.0, 1.0]))
    found = agree(lambda m: JointStates(("j1", "j2")).take(m, stamp_of(m), 0.0), message)
    assert (tuple(found.names), tuple(found.position)) == (("j1", "j2"), (0.1, 0.2))


def trajectory(names, *points):
    message = headed(JointTrajectory(joint_names=names), "base_link")
    for k, values in enumerate(points):
        point = JointTrajectoryPoint(positions=values)
        point.time_from_start.nanosec = 10_000_000 * (k + 1)
        message.points.append(point)
    return message


def test_commands_that_are_asked_for():
    twist = headed(TwistStamped(), "base_link")
    twist.twist.linear.x, twist.twist.angular.z = 0.25, -1.5
    assert agree(lambda m: command_in(m, ARENA, 3.0, 4), twist).values == [0.25, -1.5]
    arm = contract_of("arm")
    names = list(reversed(arm.command.joints))
    found = agree(lambda m: command_in(m, arm), trajectory(names, [0.2, 0.1], [0.4, 0.3]))
    assert found.values == [0.3, 0.4] and not found.fault
    assert agree(lambda m: command_in(m, arm), trajectory(names)).still
    assert "lacks joint" in agree(lambda m: command_in(m, arm), trajectory(names[:1], [0.2])).fault


def test_commands_that_left_the_gate_are_read_by_the_names_of_their_joints():
    twist = Twist()
    twist.linear.x = 0.25
    assert agree(lambda m: gate_output(m, ARENA), twist).tolist() == [0.25, 0.0]
    arm = contract_of("arm")
    names = list(arm.command.joints)
    for message in (trajectory(names, [0.1, 0.2]), trajectory(names[::-1], [0.2, 0.1])):
        assert agree(lambda m: gate_output(m, arm), message).tolist() == [0.1, 0.2]
        assert CommandCodec(arm).read_output(message).values.tolist() == [0.1, 0.2]
    assert agree(lambda m: gate_output(m, arm), Float64MultiArray(data=[0.1, 0.2])).tolist() == [0.1, 0.2]
    for message in (Float64MultiArray(data=[0.1]), trajectory(["a", "b"], [0.1, 0.2]), trajectory(names)):
        assert np.isnan(agree(lambda m: gate_output(m, arm), message)).all()
