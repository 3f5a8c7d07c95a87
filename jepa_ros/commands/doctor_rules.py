# SPDX-License-Identifier: Apache-2.0
"""What the doctor expects of a graph and how it judges what it saw; no ROS in here."""

from __future__ import annotations

from dataclasses import dataclass, field

from jepa_ros.contract import RobotContract
from jepa_ros.contract.topics import COMMAND_TYPES, ESTOP_TYPE, STATE_TYPES, asked_type
from jepa_ros.safety.output import MOVING_NAMES

OK, WARNING, ERROR = "ok", "warning", "error"
#: A topic that is slower than this share of its declared rate is reported.
SLOW = 0.7


@dataclass(frozen=True)
class Finding:
    """One line of the report: how grave, about what, what was found and what to do."""

    level: str
    subject: str
    text: str


@dataclass(frozen=True)
class Expected:
    """A topic of the graph: its type, the rate [Hz] that it should have (0: whenever), and who listens.

    Attributes:
        single: a second publisher is an error (commands, the clock). required: silence is an error.
        heard: somebody has to listen, as a base does to commands.
        kept: a publisher that keeps its last message (transient local) may speak when it has something new to say.
    """

    topic: str
    type: str
    rate: float = 0.0
    single: bool = True
    required: bool = True
    heard: bool = False
    kept: bool = False


@dataclass(frozen=True)
class End:
    """One end of a topic: the full name of its node, the type of its messages, and whether a publisher keeps its last
    message for whoever comes later (transient local)."""

    node: str
    type: str
    keeps: bool = False


@dataclass
class Seen:
    """What the graph, and listening to it, showed of a topic.

    Attributes:
        publishers, listeners: its ends; the doctor's own is none of them.
        mismatches: pairs that DDS does not connect for their QoS, as sentences.
        messages: that came. rate: at which they were sent, 1/s.
    """

    publishers: tuple[End, ...] = ()
    listeners: tuple[End, ...] = ()
    mismatches: tuple[str, ...] = ()
    messages: int = 0
    rate: float = 0.0

    def types(self) -> set[str]:
        """Of all its ends."""
        return {end.type for end in (*self.publishers, *self.listeners)}


@dataclass
class Heard:
    """Messages of one topic as they came in.

    Attributes:
        messages: how many. first, latest: when, s, by this process's clock.
        sent: of the first and of the latest: when its sender sent it, ns by the sender's clock, and its number there.
    """

    messages: int = 0
    first: float = 0.0
    latest: float = 0.0
    sent: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    def add(self, now: float, source: int, number: int) -> None:
        """One came."""
        if not self.messages:
            self.first, self.sent = now, ((source, number), (source, number))
        self.messages += 1
        self.latest, self.sent = now, (self.sent[0], (source, number))

    def rate(self, now: float, numbered: bool = True) -> float:
        """Messages a second as they were sent: a busy machine lets this process hear some late, or not at all.

        Args:
            numbered: they come from one sender, so that its numbers count what was not heard.
        """
        if not self.messages:
            return 0.0
        (begun, first), (ended, last) = self.sent
        count = last - first if numbered and last > first else self.messages - 1
        span = (ended - begun) * 1e-9 if ended > begun else self.latest - self.first
        quiet = now - self.latest
        if not count or quiet > max(1.0, 3.0 * span / count):
            span += quiet  # it has fallen silent since
        return max(count, 1) / max(span, 1e-3)


@dataclass
class Report:
    """Findings in the order in which they are told."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, level: str, subject: str, text: str) -> None:
        """Add one."""
        self.findings.append(Finding(level, subject, text))


def expected_topics(contract: RobotContract, compressed: bool = False, brain: bool = True) -> list[Expected]:
    """The topics that a running graph of this robot has, by the contract; `brain`: with perception and planner."""
    camera = contract.cameras[0]
    compressed = compressed or camera.compressed
    image = (f"{camera.topic}/compressed", "CompressedImage") if compressed else (camera.topic, "Image")
    thinking = [
        Expected("embedding", "sensor_msgs/msg/Image", contract.rate),
        Expected("model_id", "std_msgs/msg/String"),
        Expected("command_raw", asked_type(contract.jointed), contract.rate),
        Expected("signals", "diagnostic_msgs/msg/DiagnosticArray", contract.rate),
    ]
    output = COMMAND_TYPES[contract.command.kind]
    rows = [
        Expected(image[0], f"sensor_msgs/msg/{image[1]}", camera.rate),
        *(thinking if brain else ()),
        Expected(contract.command.topic, output, contract.gate_rate, heard=True),
        Expected("safety_gate/state", "diagnostic_msgs/msg/DiagnosticArray", contract.gate_rate),
    ]
    for name, state in contract.state.items():
        # What may be silent for so long must come at least so often.
        rate, alone = 1.0 / state.timeout, name != "joint_states"  # an arm and its gripper have a driver each
        expected = Expected(state.topic, STATE_TYPES[name], rate, alone, state.required, kept=name == "pose")
        rows.append(expected)
    if contract.watchdog.estop_required:
        rows.append(Expected(contract.estop_topic, ESTOP_TYPE, 1.0 / contract.watchdog.estop_timeout, single=False))
    return rows


def judge(expected: Expected, seen: Seen) -> list[Finding]:
    """What is wrong with one topic; a single "ok" where nothing is."""
    report, topic = Report(), expected.topic
    worst = ERROR if expected.required else WARNING
    right = [end for end in seen.publishers if end.type == expected.type]
    kept = expected.kept and any(end.keeps for end in right)
    report.findings += judge_ends(topic, seen, expected.type)
    if not seen.publishers:
        advice = "start the node or driver, or remap its topic"
        report.add(worst, topic, f"nobody publishes it (expected {expected.type}): {advice}")
        return report.findings
    if expected.single and len(seen.publishers) > 1:
        names = ", ".join(end.node for end in seen.publishers)
        report.add(ERROR, topic, f"{len(seen.publishers)} publishers ({names}): expected one")
    if expected.heard and not seen.listeners:
        report.add(WARNING, topic, "nobody listens to it: is the robot's driver running, under this name?")
    if right and not seen.messages and not report.findings:
        report.add(worst, topic, f"silent, though {right[0].node} publishes it")
    elif seen.messages and expected.rate and seen.rate < SLOW * expected.rate and not kept:
        report.add(WARNING, topic, f"{seen.rate:.1f} Hz, expected at least {expected.rate:.1f} Hz")
    if not report.findings:
        rate = f"{seen.rate:.1f} Hz" if expected.rate else f"{seen.messages} messages"
        if kept:
            rate = "the last message, kept until there is another,"
        report.add(OK, topic, f"{rate} from {right[0].node}")
    return report.findings


def judge_ends(topic: str, seen: Seen, expected: str = "") -> list[Finding]:
    """Ends of one name that do not hear each other, for their types or for their QoS.

    Args:
        expected: the type that the topic has by the contract; empty for topics that the contract does not know, where
            every type that is listened for is as good as any other.
    """
    report = Report()
    for end in seen.publishers:
        hearing = {other.node for other in seen.listeners if other.type == end.type}
        deaf = [other for other in seen.listeners if other.node not in hearing]
        if expected and end.type != expected:
            report.add(ERROR, topic, f"{end.node} publishes {end.type}, expected {expected}{_advice(end, expected)}")
        elif deaf and not expected:
            names = ", ".join(f"{other.node} ({other.type})" for other in deaf)
            advice = _advice(end, deaf[0].type)
            report.add(ERROR, topic, f"{end.node} publishes {end.type}, which is not heard by {names}{advice}")
    hearing = {other.node for other in seen.listeners if other.type == expected}
    for end in seen.listeners if expected else ():
        if end.node not in hearing:
            kinds = expected in _KINDS and end.type in _KINDS
            advice = f": give command_kind:={_KINDS[end.type]}, or set the driver to {expected}" if kinds else ""
            report.add(ERROR, topic, f"{end.node} listens for {end.type} and does not hear {expected}{advice}")
    for text in seen.mismatches:
        report.add(ERROR, topic, text)
    return report.findings


_KINDS = {message: kind for kind, message in COMMAND_TYPES.items()}


def _advice(publisher: End, wanted: str) -> str:
    """What to do about a publisher of another type than `wanted`."""
    if (publisher.type, wanted) == (COMMAND_TYPES["twist"], COMMAND_TYPES["twist_stamped"]):
        return ": have it send stamped ones (teleop_twist_keyboard and teleop_twist_joy: -p stamped:=true)"
    return ": change its type, or remap it to another name"


def judge_gate(values: dict[str, str], message: str, brain: bool = True) -> list[Finding]:
    """What the gate says of itself; without a `brain` it stands still until somebody drives by teleoperation."""
    mode = values.get("mode", "")
    if mode in MOVING_NAMES:
        return [Finding(OK, "gate", f"{mode}: {message}")]
    if not brain and mode in ("ARMING", "STOPPED") and values.get("reason") == "heartbeat":
        return [Finding(OK, "gate", f"{mode}: waits for teleoperation or `jepa-ros explore`")]
    advice = {
        "DISABLED": "enable it with ~/enable once the robot may move",
        "ARMING": "it waits for fresh inputs; see what is silent above",
        "STOPPED": "it goes on by itself when the reason is gone",
        "ESTOP": "release the e-stop and call ~/reset",
    }.get(mode, "it does not say how it stands")
    level = WARNING if mode in ("DISABLED", "ARMING") else ERROR
    return [Finding(level, "gate", f"{mode or 'no mode'}: {message}; {advice}")]


def judge_clock(seen: Seen) -> Finding:
    """Whether there is a clock, one, and whether it goes."""
    names = ", ".join(end.node for end in seen.publishers)
    if not seen.publishers:
        return Finding(OK, "clock", "the system's (nobody publishes /clock)")
    if len(seen.publishers) > 1:
        return Finding(ERROR, "clock", f"/clock has {len(seen.publishers)} publishers: {names}")
    if not seen.messages:
        return Finding(ERROR, "clock", f"/clock of {names} stands still: simulation paused?")
    return Finding(OK, "clock", f"/clock from {names}")
