# SPDX-License-Identifier: Apache-2.0
"""Other people's environments: the whole way from collecting to scoring, and a clear refusal of what cannot work."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from toy_world import planar_config

from jepa_ros import progress
from jepa_ros.commands.cli import main
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.learning.data.collect import CollectSettings, collect_episode, described
from jepa_ros.learning.data.dataset import Dataset
from jepa_ros.learning.data.storage import DatasetError
from jepa_ros.learning.data.writer import DatasetWriter
from jepa_ros.planning.config import SearchConfig
from jepa_ros.world_model import ContractMismatch, ModelConfig, WorldModel, load_checkpoint, save_checkpoint
from jepa_ros.worlds import Decision, Sample, WorldError
from jepa_ros.worlds.choose import json_object
from jepa_ros.worlds.gym.environment import GymEnv, GymError, read_state
from jepa_ros.worlds.gym.goals import Pair, draw_pair
from jepa_ros.worlds.gym.scene import Beginning, GymScene
from jepa_ros.worlds.gym.setup import usual_repeat
from jepa_ros.worlds.gym.states import coarse, coarse_shows, picture_shows, rollout, survey
from jepa_ros.worlds.gym.world import GymJudge, GymWorld


class Dot(gymnasium.Env):
    """A dot on a square; it is pushed, and its speed is in the observation but not in the picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (5,), np.float64)

    def __init__(self, render_mode=None, goal=None, lifetime=10**9):
        self.render_mode, self.goal, self.lifetime = render_mode, goal, lifetime

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.speed, self.age = self.np_random.uniform(-0.8, 0.8, 2), np.zeros(2), 0
        return self.observe(), self.told(options or {})

    def told(self, options):
        return {}

    def observe(self):
        return np.concatenate([self.at, self.speed, [7.0]])

    def step(self, action):
        self.age += 1
        self.speed = 0.1 * np.asarray(action, np.float64)
        self.at = np.clip(self.at + self.speed, -1.0, 1.0)
        info = {} if self.goal is None else {"is_success": np.linalg.norm(self.at - self.goal) < 0.3}
        return self.observe(), -1.0, self.age >= self.lifetime, False, info

    def render(self):
        y, x = np.mgrid[-1:1:48j, -1:1:64j]
        blob = np.exp(-((x - self.at[0]) ** 2 + (y - self.at[1]) ** 2) / 0.02)
        return np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8)


class Blind(Dot):
    metadata = {"render_modes": []}  # noqa: RUF012


class Ashen(Dot):
    def render(self):
        return super().render()[..., 0]


class Faint(Dot):
    def render(self):
        return super().render() / 255.0


class Large(Dot):
    """Its pictures are as large as it is told, as MuJoCo's are."""

    def __init__(self, render_mode=None, width=480, height=320):
        super().__init__(render_mode)
        self.width, self.height = width, height

    def render(self):
        return np.zeros((self.height, self.width, 3), np.uint8)


class Brittle(Dot):
    """It falls over at once, unless it is treated gently; and it fails when it is asked to go on."""

    def step(self, action):
        seen, reward, ended, cut, info = super().step(action)
        return seen, reward, ended or np.abs(action).max() > 0.8, cut, info


class Cracked(Dot):
    def step(self, action):
        if self.age == 3:
            raise ValueError
        return super().step(action)


class Nested(Dot):
    """Its observation is of every kind that can be nested, an infinite value among them."""

    def observe(self):
        return {"inner": {"at": self.at, "word": "up"}, "more": (self.speed, 3), "far": np.array([np.inf])}


class Endless(Dot):
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Switch(Dot):
    action_space = gymnasium.spaces.Discrete(3)


class Broken(Dot):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no licence found")


class OldStep(Dot):
    """Of the time before Gymnasium: `done` in one, and no `info` from reset."""

    def step(self, action):
        seen, reward, ended, _, info = super().step(action)
        return seen, reward, ended, info


class OldReset(Dot):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class Rewarded(Dot):
    """Its reward and its flags are whatever it is made with."""

    def __init__(self, render_mode=None, reward=0.0, ended=False):
        super().__init__(render_mode)
        self.reward, self.ended = reward, ended

    def step(self, action):
        seen, _, _, cut, info = super().step(action)
        return seen, self.reward, self.ended, cut, info


class Growing(Dot):
    def observe(self):
        return np.zeros(3 + self.age % 2)


class Guide(Dot):
    """It supplies goals where its reset is asked to: a picture, what state that is, and later whether it is reached."""

    def told(self, options):
        if not options.get("render_goal"):
            return {}
        here, self.goal = self.at, np.array(options.get("far", [0.9, 0.9]))
        self.at = self.goal
        picture, state, self.at = self.render(), self.observe(), here
        return {"goal_rendered": picture, "goal_state": state}


ENVIRONMENTS = (
    Dot, Blind, Ashen, Faint, Large, Brittle, Cracked, Nested, Endless, Switch, Broken, OldStep, OldReset, Rewarded,
    Growing, Guide,
)  # fmt: skip
for entry in ENVIRONMENTS:
    gymnasium.register(f"jepatest/{entry.__name__}-v0", entry, max_episode_steps=30)
DOT = "jepatest/Dot-v0"


def scene_of(name=DOT, repeat=1, own_limit=False, **args):
    return GymScene(GymEnv(name, args, repeat, own_limit))


def task_of(world, **options):
    """(scene, task) of a world."""
    contract = world.contract()
    return world.scene(contract), world.task("pictures", contract, options)


def collected(number, name=DOT, length=20, **args):
    """An episode of a collection of 4 with seed 3."""
    world = GymWorld(name, json.dumps(args), 1)
    return collect_episode(*task_of(world), world, CollectSettings(4, length, 3), number)


def played(scene, task, pair, kind, search=None, loaded=None):
    """The score of one policy on a pair."""
    settings = EvalSettings(search=search or SearchConfig())
    return run_episode(kind, scene, task, pair, settings, loaded, gated=False)


@pytest.fixture
def dot():
    return GymEnv(DOT)


class Still:
    def act(self, observation):
        return Decision(np.zeros(2))


def test_the_contract_of_an_environment_says_what_a_robots_would(dot):
    contract = dot.contract
    assert contract.rate == 10.0 and contract.actuation_latency == 0.0
    assert [a.name for a in contract.action] == ["jepatest/Dot-v0.0", "jepatest/Dot-v0.1"]
    assert contract.action_low.tolist() == [-2.0, -2.0]
    assert (contract.cameras[0].width, contract.cameras[0].height) == (64, 48)
    assert GymEnv(DOT).contract.digest() == contract.digest()
    held = GymEnv(DOT, repeat=2).contract
    assert held.rate == 5.0 and held.model_differences(contract)


def test_an_action_is_held_and_kept_within_bounds(dot):
    env = GymEnv(DOT, repeat=3)
    env.reset(1)
    before = read_state(env)[:2]
    executed = env.step(np.array([-9.0, 0.5]))
    assert executed.tolist() == [-2.0, 0.5]
    expected = np.clip(before[0] - 3 * 0.2, -1, 1), np.clip(before[1] + 3 * 0.05, -1, 1)
    assert read_state(env)[:2] == pytest.approx(expected)


def test_collecting_drops_the_environments_time_limit_and_scoring_keeps_it():
    for own_limit, steps in ((False, 50), (True, 30)):
        scene = scene_of(own_limit=own_limit)
        scene.reset(Beginning(0, 0))
        assert len(list(rollout(scene, Still(), 50, look=False))) == steps


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jepatest/Switch-v0", r"its action is Discrete\(3\); a Box"),
        ("jepatest/Endless-v0", "finite bounds"),
        ("jepatest/Blind-v0", r"cannot render to pictures: its render modes are \[\], and 'rgb_array' is needed"),
        ("jepatest/Faint-v0", r"render\(\) gave float64 of shape \(48, 64, 3\); a picture"),
        ("jepatest/Broken-v0", r"its reset\(\) failed: RuntimeError: no licence found"),
        ("Nowhere-v0", "is not there: .*Nowhere.* install what registers it"),
        ("PandaTurns-v9", "To mend it: pip install panda-gym"),
        ("no_such_package/Thing-v0", "To mend it: pip install no-such-package"),
        ("no_such_package:Thing-v0", "No module named 'no_such_package'.*pip install no-such-package"),
        ("ALE/Pong-v5", "pip install ale-py"),
    ],
)
def test_an_environment_that_cannot_work_is_one_clear_line(name, message):
    with pytest.raises(GymError, match=message) as caught:
        GymEnv(name)
    assert f"--env {name}" in str(caught.value)


def test_grey_pictures_are_taken_and_large_ones_are_asked_for_smaller():
    assert GymEnv("jepatest/Ashen-v0").image().shape == (48, 64, 3)
    assert GymEnv("jepatest/Large-v0").image().shape == (128, 192, 3)
    assert GymEnv("jepatest/Large-v0", {"height": 400}).image().shape == (400, 480, 3)  # as the user says


@pytest.mark.parametrize(("fps", "repeat"), [(50, 5), (30, 3), (10, 1), (4, 1)])
def test_an_action_is_held_so_that_there_are_ten_control_steps_a_second(fps, repeat):
    assert usual_repeat("Pendulum-v1", fps) == repeat  # of its 200 steps
    assert usual_repeat(DOT, fps) == 1  # an episode of 30 steps would soon be over


def test_what_goes_wrong_on_the_way_is_one_line_that_names_its_place():
    scene = scene_of("jepatest/Cracked-v0")
    scene.reset(Beginning(0, 0))
    with pytest.raises(GymError, match=r"jepatest/Cracked-v0: its step\(\) failed: ValueError: raise .*line \d+"):
        list(rollout(scene, Still(), 9, look=False))
    with pytest.raises(GymError, match="not finite"):
        scene.env.step(np.array([np.nan, 0.0]))


def test_what_falls_over_at_once_is_driven_gently():
    episode = collected(0, "jepatest/Brittle-v0")
    assert len(episode) >= 16 and np.abs(episode.actions[:-1]).max() <= 0.8
    scene = scene_of("jepatest/Brittle-v0")
    pair = draw_pair(scene, survey(scene, 0, 0.15), 0, 0)
    assert len(pair.commands) >= 10


def test_observations_of_every_kind_are_states():
    scene = scene_of("jepatest/Nested-v0")
    assert len(read_state(scene.env)) == 1 + 2 + 1 + 2 + 1
    assert set(survey(scene, 0, 0.15).dims) == {1, 2}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_arguments_that_are_no_json_object_are_refused(text):
    with pytest.raises(WorldError, match="--env-args"):
        json_object(text, "--env-args")


def test_an_episode_follows_from_settings_and_number_alone():
    a, b = collected(1), collected(1)
    assert np.array_equal(a.images, b.images) and np.array_equal(a.actions, b.actions)
    assert not np.array_equal(a.actions, collected(2).actions)
    a.check(task_of(GymWorld(DOT, "{}", 1))[0].contract)
    assert np.isnan(a.poses).all() and not a.contacts.any()
    brightest = [np.unravel_index(i[..., 0].argmax(), i.shape[:2])[1] for i in a.images]
    moved = np.diff(brightest)
    assert np.corrcoef(moved, a.actions[:-1, 0])[0, 1] > 0.7  # action k leads from picture k to picture k + 1


def test_episodes_that_end_too_soon_are_refused_before_training():
    with pytest.raises(JepaRosError, match="ended within 16 steps"):
        collected(0, lifetime=5)


def test_data_of_another_world_is_refused(tmp_path):
    world = GymWorld(DOT, "{}", 1)
    scene, task = task_of(world)
    settings = CollectSettings(2, 20, 3)
    writer = DatasetWriter(tmp_path / "d", scene.contract, described(task, settings))
    writer.write_shard(0, [collect_episode(scene, task, world, settings, 0)])
    Dataset(tmp_path / "d").check_source(None, DOT)
    with pytest.raises(DatasetError, match="holds data of jepatest/Dot-v0, not of Pendulum-v1"):
        Dataset(tmp_path / "d").check_source("Pendulum-v1")


def test_a_model_of_another_environment_is_refused(dot, tmp_path):
    save_checkpoint(tmp_path / "m", WorldModel(planar_config(latent_dim=8)), {"contract": dot.contract.to_dict()})
    load_checkpoint(tmp_path / "m", GymEnv(DOT).contract)
    with pytest.raises(ContractMismatch, match=r"rate: 10\.0 != 5\.0"):
        load_checkpoint(tmp_path / "m", GymEnv(DOT, repeat=2).contract)


def test_states_are_compared_by_what_a_picture_shows():
    measure = survey(scene_of(), 0, 0.15)
    assert set(measure.dims) == {0, 1}  # not the speed, and not the constant
    assert measure.distance(np.array([0, 0, 1, 1, 7.0]), np.zeros(5)) == 0.0
    one = measure.distance(np.array([measure.scale[0], measure.scale[1], 0, 0, 0]), np.zeros(5))
    assert one == pytest.approx(1.0)


def test_what_no_picture_shows_has_no_r2():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 3))
    y = np.stack([np.sin(2 * x[:, 0]) + x[:, 1], rng.normal(size=400)], axis=1)
    shown, hidden = picture_shows(x, y, np.arange(400) % 3 == 0)
    assert shown > 0.9 and hidden < 0.2


def test_where_something_small_is_counts_as_shown():
    rng = np.random.default_rng(0)
    at = rng.uniform(8, 56, (400, 2))
    pictures = np.full((400, 64, 64, 3), 255, np.uint8)
    for picture, (x, y) in zip(pictures, at.astype(int)):
        picture[y - 1 : y + 1, x - 1 : x + 1] = (60, 110, 240)
    y = np.concatenate([at, rng.normal(size=(400, 1))], axis=1)
    shown = coarse_shows(np.array([coarse(p) for p in pictures]), y, np.arange(400) % 3 == 0)
    assert shown[:2].min() > 0.8 and shown[2] < 0.2


def test_a_goal_is_reached_by_the_commands_that_made_it():
    scene, task = task_of(GymWorld(DOT, "{}", 1), limit=60)
    for number in range(5):
        pair = task.draw(scene, 0, number)
        assert pair.kind in ("hold", "reach") and pair.image.shape == (48, 64, 3)
        replay = played(scene, task, pair, "replay")["score"]
        assert replay["ever"] and replay["least_distance"] < 1e-9
        assert replay["start_distance"] > 2 * task.tolerance  # nothing is solved at the start
        again = task.draw(scene, 0, number)
        assert again.seed == pair.seed and np.array_equal(again.image, pair.image)


def test_another_limit_takes_the_place_of_the_environments_own():
    for limit, steps in ((None, 30), (45, 45)):
        scene, task = task_of(GymWorld(DOT, "{}", 1, own_limit=limit is None), limit=limit)
        assert played(scene, task, task.draw(scene, 0, 0), "random")["score"]["steps"] == steps


def test_the_environments_own_success_counts_where_the_goal_shows_it():
    scene, task = task_of(GymWorld(DOT, json.dumps({"goal": [0.0, 0.0]}), 1))
    pairs = [task.draw(scene, 0, n) for n in range(12)]
    own = [p for p in pairs if p.kind == "own"]
    assert own
    for pair in own:
        assert np.linalg.norm(pair.state[:2]) < 0.3
    task.limit = len(own[0].commands)
    replay = played(scene, task, own[0], "replay")["score"]
    assert replay["part"] == "own" and replay["success"] and replay["own_success"]
    assert replay["final_distance"] == pytest.approx(0.0)


def test_a_goal_that_was_held_has_to_be_held_and_one_that_was_passed_to_be_met_in_time():
    scene, task = task_of(GymWorld(DOT, "{}", 1))
    task.measure(scene, 0)
    scene.reset(Beginning(0, 4))
    start = read_state(scene.env)
    there = [np.array([2.0 if start[0] < 0 else -2.0, 0.0])] * 3
    away = [-there[0]] * 3
    for command in there:
        scene.env.step(command)
    goal, image = read_state(scene.env), scene.env.image()

    def run(kind, commands, limit=None):
        task.limit = limit or len(commands)
        return played(scene, task, Pair(0, 4, image, goal, tuple(commands), kind), "replay")["score"]

    assert run("hold", [*there, *[np.zeros(2)] * 9])["success"]
    passing = run("hold", [*there, *away])
    assert not passing["success"] and passing["ever"]
    assert run("reach", [*there, *away])["success"]
    assert not run("reach", there[:2], 6)["success"]  # the third step is one too late


def test_goals_may_lie_where_other_episodes_begin():
    scene, task = task_of(GymWorld(DOT, "{}", 1), goals="resets")
    pairs = [task.draw(scene, 0, n) for n in range(8)]
    assert task.references == () and {p.kind for p in pairs} == {"hold"}
    far = []
    for pair in pairs:
        scene.reset(pair)
        far.append(np.linalg.norm(read_state(scene.env)[:2] - pair.state[:2]))
        scene.env.reset(0)
        scene.env.env.unwrapped.at = pair.state[:2]
        assert np.array_equal(scene.env.image(), pair.image)
    assert max(far) > 1.0  # a random rollout leads hardly as far


def test_an_environment_supplies_its_goals_by_its_reset():
    asked = {"render_goal": True, "far": [0.9, -0.9]}
    scene, task = task_of(GymWorld("jepatest/Guide-v0", "{}", 1), goals="given", env_reset=asked, limit=15)
    pair = task.draw(scene, 0, 0)
    assert pair.kind == "own" and pair.state[:2].tolist() == [0.9, -0.9] and pair.commands == ()
    judge = GymJudge(task.measure(scene, 0), pair, scene.truth())
    for success in (False, True):
        judge.add(Sample(0.1, {"state": pair.state, "success": success, "reward": 0.0}, False, False))
    assert judge.score()["success"] and judge.score()["part"] == "own"
    assert played(scene, task, pair, "random")["score"]["own_success"] is False
    with pytest.raises(GymError, match=r"--goals given: no picture of a goal in info .* what it needs by --env-reset"):
        task_of(GymWorld("jepatest/Guide-v0", "{}", 1), goals="given")[1].draw(scene, 0, 0)


def test_a_planner_without_a_gate_is_scored_with_its_times(dot, tmp_path):
    save_checkpoint(
        tmp_path / "m", WorldModel(ModelConfig(latent_dim=8, readouts=())), {"contract": dot.contract.to_dict()}
    )
    scene, task = task_of(GymWorld(DOT, "{}", 1), limit=12)
    loaded = (*load_checkpoint(tmp_path / "m", scene.contract), tmp_path / "m")
    search = replace(SearchConfig(), horizon=3, samples=8, iterations=1, elites=4, keep=2)
    found = played(scene, task, task.draw(scene, 0, 0), "planner", search, loaded)
    assert found["score"]["steps"] == len(found["plan"]) == len(found["encode"]) == 12
    assert found["score"]["own_success"] is None and found["score"]["total_reward"] == -12.0


@pytest.mark.slow
def test_the_commands_take_an_environment_from_data_to_table(tmp_path, monkeypatch, capsys):
    # Workers are processes of their own: the module in front of the ID makes them register the environment too.
    monkeypatch.syspath_prepend(__file__.rsplit("/", 1)[0])
    monkeypatch.setenv("PYTHONPATH", __file__.rsplit("/", 1)[0])
    monkeypatch.setattr(progress, "EVERY", 0.05)
    env = "test_gym_world:" + DOT
    data, model, out = tmp_path / "d", tmp_path / "m", tmp_path / "r.json"
    collect = ["collect", "--env", env, "--out", str(data), "--episodes", "12", "--length", "24", "--workers", "1"]
    assert main(collect) == 0
    assert "episodes: 0 of 12  (" in capsys.readouterr().err  # told in a log too, before the first of them is there
    train = ["train", "--data", str(data), "--out", str(model), "--env", env, "--steps", "4", "--readout-steps", "4",
             "--latent-dim", "8", "--encoder-width", "8", "--keypoints", "2", "--threads", "1"]  # fmt: skip
    assert main(train) == 0
    assert "representation: 4 of 4  " in capsys.readouterr().err
    assert (model / "report.html").exists()
    evaluate = ["eval", "--env", env, "--model", str(model), "--episodes", "2", "--workers", "1", "--limit", "15",
                "--samples", "16", "--iterations", "1", "--json", str(out)]  # fmt: skip
    assert main(evaluate) == 0
    report = json.loads(out.read_text())
    assert report["gate"] is False and report["env"]["action_repeat"] == 1
    assert set(report["policies"]) == {"planner", "random", "replay"}
    assert len(report["success_rate_ci95"]) == 2 and report["plan_ms"]["p50"] > 0
    assert sum(m["pairs"] for m in report["success_means"].values()) == 2
    assert "dimensions [0, 1] of the 5 observed" in report["success_means"]["hold"]["means"]
    told = capsys.readouterr()
    assert "replay" in told.out and "episodes: 0 of 2  (" in told.err


def test_an_environment_of_the_old_api_is_told_by_name():
    said = (
        r"step\(\) gave \(ndarray, float, bool, dict\), expected \(observation, reward, terminated, truncated, info\)"
    )
    with pytest.raises(GymError, match=said):
        GymEnv("jepatest/OldStep-v0").step(np.zeros(2))
    with pytest.raises(GymError, match=r"its reset\(\) gave ndarray|its reset\(\) gave \(ndarray\)"):
        GymEnv("jepatest/OldReset-v0")


def test_a_reward_in_an_array_counts_and_what_is_no_number_is_told():
    env = GymEnv("jepatest/Rewarded-v0", {"reward": np.full(1, 2.5), "ended": np.zeros((1, 1), bool)})
    env.step(np.zeros(2))
    assert env.total == 2.5 and env.done is False
    for args, said in (
        ({"reward": np.zeros(2)}, "'reward'"),
        ({"reward": None}, "'reward'"),
        ({"ended": [0, 1]}, "'term"),
    ):
        with pytest.raises(GymError, match=f"{said}.*one number is needed"):
            GymEnv("jepatest/Rewarded-v0", args).step(np.zeros(2))


def test_an_observation_that_changes_its_size_is_told():
    with pytest.raises(GymError, match=r"changes its size \(3, 4 numbers\)"):
        survey(scene_of("jepatest/Growing-v0"), 0, 0.1)


@pytest.mark.slow
def test_an_old_environment_is_one_line_though_it_fails_in_a_worker(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", __file__.rsplit("/", 1)[0])
    monkeypatch.syspath_prepend(__file__.rsplit("/", 1)[0])
    words = ["collect", "--env", "test_gym_world:jepatest/OldStep-v0", "--out", str(tmp_path), "--episodes", "1"]
    assert main([*words, "--workers", "1"]) == 2
    _, _, told = capsys.readouterr().err.rpartition("error: ")  # a slow machine tells its progress before
    assert told.startswith("--env test_gym_world:jepatest/OldStep-v0: its step()") and told.count("\n") == 1


def test_mistakes_on_the_command_line_are_one_line(tmp_path, capsys):
    for words, wanted in (
        (["collect", "--env", "CartPole-v1", "--out", str(tmp_path / "x")], "Discrete(2)"),
        (["collect", "--env", DOT, "--out", str(tmp_path / "x"), "--action-repeat", "0"], "--action-repeat"),
        (["collect", "--env", DOT, "--out", str(tmp_path / "x"), "--length", "6"], "at least 16 control steps"),
        (["eval", "--env", DOT], "needs --model"),
        (["eval", "--env", DOT, "--policies", "oracle"], "expected some of planner, random, replay"),
    ):
        assert main(words) == 2
        line = capsys.readouterr().err.strip()
        assert wanted in line and "Traceback" not in line
    assert not (tmp_path / "x").exists()


def test_pendulum_of_gymnasium_itself():
    pytest.importorskip("pygame")
    scene = scene_of("Pendulum-v1", None)
    measure = survey(scene, 0, 0.15)
    assert measure.dims == (0, 1)  # cosine and sine of the angle; the picture does not show the speed
    assert scene.env.success is None


def test_a_command_that_draws_with_sdl_still_ends_on_sigterm():
    pytest.importorskip("pygame")
    code = (
        "from jepa_ros.worlds.gym.environment import GymEnv; import sys, time\n"
        "env = GymEnv('Pendulum-v1'); env.image(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM
    finally:
        process.kill()
