# SPDX-License-Identifier: Apache-2.0
"""The rooms: walls stop the robot, shortest ways go round them, and tasks ask for what they say."""

import numpy as np
import pytest

from jepa_ros.contract import load_contract
from jepa_ros.evaluation.episode import EvalSettings, run_episode
from jepa_ros.worlds import Sample, WorldError
from jepa_ros_sim.rooms.geodesic import geodesic
from jepa_ros_sim.rooms.layout import DOOR, HALF, RADIUS, Layout, known_layout, maze, two_rooms
from jepa_ros_sim.rooms.scene import SPEED, Episode, RoomsScene, Truth
from jepa_ros_sim.rooms.tasks import HOLD, TASKS, TOLERANCE
from jepa_ros_sim.rooms.world import RoomsWorld

WORLD = RoomsWorld()
CONTRACT = load_contract("rooms")
TASK = {name: WORLD.task(name, CONTRACT, {}) for name in TASKS}
WALL = Layout(((-0.1, -1.0, 0.1, 1.0),))


@pytest.fixture
def scene():
    return RoomsScene(CONTRACT)


def drive(scene, layout, start, velocity, steps):
    scene.reset(Episode(0, 0, 0, layout, start))
    for _ in range(steps):
        scene.command(np.array(velocity))
        scene.advance(CONTRACT.period)
    truth = scene.truth()
    return truth.x, truth.y


def test_a_step_is_at_most_a_twentieth_of_the_width_in_any_direction(scene):
    x, y = drive(scene, Layout(()), (0.0, 0.0), (1.0, 1.0), 1)
    assert np.hypot(x, y) == pytest.approx(2 * HALF / 20)


def test_a_wall_stops_the_robot_which_slides_along_it(scene):
    x, y = drive(scene, WALL, (-1.0, 0.0), (1.0, 0.2), 10)
    assert x <= -0.1 - RADIUS and x == pytest.approx(-0.1 - RADIUS, abs=SPEED * 0.04)
    assert y == pytest.approx(0.2 * SPEED / np.hypot(1.0, 0.2) * 2.0)
    assert drive(scene, WALL, (0.0, 1.5), (0.0, 1.0), 20) == pytest.approx((0.0, HALF - RADIUS), abs=SPEED * 0.04)


def test_the_shortest_way_goes_round_a_wall_by_its_corners():
    start, goal = np.array([[-1.0, 0.0], [-1.0, 1.9], [1.0, 0.5]]), np.array([1.0, 0.0])
    corner = np.hypot(1.0 - 0.1 - RADIUS, 1.0 + RADIUS)
    over, straight = geodesic(WALL).ways(start, goal)[[0, 2]]
    assert over == pytest.approx(2 * corner + 2 * (0.1 + RADIUS), rel=1e-6)
    assert straight == pytest.approx(0.5)
    first = geodesic(WALL).towards(start[0], goal)
    assert abs(first[0]) == pytest.approx(0.1 + RADIUS) and abs(first[1]) == pytest.approx(1.0 + RADIUS)


def test_ways_agree_with_a_fine_grid_in_a_maze():
    """Steps to eight neighbours on a grid: never shorter than the straight lines, at most 9 % longer (and some)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    layout, n, rng = maze(2), 97, np.random.default_rng(0)
    axis = np.linspace(-HALF + RADIUS, HALF - RADIUS, n)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    free, number = ~layout.blocked(points), np.arange(n * n).reshape(n, n)
    rows, columns, lengths = [], [], []
    for i, j in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, n - i), slice(max(0, -j), n - max(0, j)))
        b = (slice(i, n), slice(max(0, j), n - max(0, -j)))
        ok = free[a] & free[b]
        rows.append(number[a][ok])
        columns.append(number[b][ok])
        lengths.append(np.full(int(ok.sum()), np.hypot(i, j) * (axis[1] - axis[0])))
    graph = coo_matrix((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))), (n * n, n * n))
    goal = rng.choice(number[free])
    grid = dijkstra(graph.tocsr(), directed=False, indices=goal)
    chosen = rng.choice(number[free], 200)
    flat = points.reshape(-1, 2)
    ways = geodesic(layout).ways(flat[chosen], flat[goal])
    assert np.isfinite(ways).all()
    assert (ways <= grid[chosen] + 1e-9).all()
    assert (ways >= (grid[chosen] - 0.15) / 1.09).all()


def test_the_door_is_three_robots_wide_and_is_elsewhere_in_each_layout():
    layouts = [two_rooms(seed) for seed in range(50)]
    assert pytest.approx(6 * RADIUS) == DOOR
    for layout in layouts:
        (_, _, _, below), (_, above, _, _) = layout.walls
        assert above - below == pytest.approx(DOOR)
    assert np.std([layout.walls[0][3] for layout in layouts]) > 0.5
    assert np.std([layout.divide for layout in layouts]) > 0.1


@pytest.mark.parametrize("name", TASKS)
def test_tasks_ask_for_ways_that_there_are_and_never_for_one_that_is_done(name, scene):
    task = TASK[name]
    specs = [task.draw(scene, 0, n) for n in range(30)]
    assert specs[3] == task.draw(scene, 0, 3) and specs[3] != task.draw(scene, 1, 3)
    for spec in specs:
        assert not spec.layout.blocked(np.array([spec.start, spec.goal])).any()
        told = task.judge(scene, spec).task if scene.reset(spec) is None else {}
        assert np.isfinite(told["way"]) and told["straight"] > 2 * TOLERANCE
        assert told["difficulty"] >= 1.0 - 1e-9
        divide = spec.layout.divide
        assert (divide is not None and (spec.start[0] < divide) != (spec.goal[0] < divide)) == (name == "far")


def test_layouts_that_are_scored_are_none_that_data_was_gathered_in(scene):
    gathered = {WORLD.task("rooms", CONTRACT, {}).outing(0, n).layout for n in range(400)}
    assert len(gathered) > 390
    assert not gathered & {TASK["far"].draw(scene, 0, n).layout for n in range(200)}
    assert WORLD.task("maze", CONTRACT, {}).outing(0, 0).layout == known_layout("maze", 0)


@pytest.mark.parametrize("name", TASKS)
def test_the_oracle_arrives_on_the_shortest_way_and_stays(name, scene):
    for number in range(4):
        spec = TASK[name].draw(scene, 5, number)
        score = run_episode("oracle", scene, TASK[name], spec, EvalSettings(), None, gated=False)["score"]
        assert score["success"] and score["final_distance"] < 0.02
        assert score["steps"] <= score["shortest_steps"] + 3


def test_success_is_to_stay_at_the_goal_until_the_end(scene):
    spec = TASK["far"].draw(scene, 0, 0)

    def score(gaps):
        judge = TASK["far"].judge(scene, spec)
        for k, gap in enumerate(gaps):
            judge.add(Sample(0.2 * (k + 1), Truth(spec.goal[0] + gap, spec.goal[1]), False, False))
        return judge.score()

    near, far = 0.9 * TOLERANCE, 1.1 * TOLERANCE
    assert score([far] * 3 + [near] * HOLD)["success"]
    passed = score([far] * 3 + [near] * HOLD + [far])
    assert not passed["success"] and passed["ever"] and passed["steps"] == 4
    assert not score([near] * (HOLD - 1))["success"]


def test_a_goal_is_a_picture_of_the_robot_there(scene):
    spec = TASK["far"].draw(scene, 0, 1)
    scene.reset(spec)
    wanted = TASK["far"].goal(scene, spec).seen.images["image"]
    assert scene.truth() == Truth(*spec.start)
    red = (wanted[..., 0].astype(int) - wanted[..., 1]) > 100
    row, column = (index.mean() for index in np.nonzero(red))
    pixel = 2 * HALF / wanted.shape[0]
    assert (column + 0.5) * pixel - HALF == pytest.approx(spec.goal[0], abs=pixel)
    assert HALF - (row + 0.5) * pixel == pytest.approx(spec.goal[1], abs=pixel)


def test_a_task_that_there_is_not_and_another_robot_are_refused():
    with pytest.raises(WorldError, match="no task 'attic'"):
        WORLD.task("attic", CONTRACT, {})
    with pytest.raises(WorldError, match="arena"):
        RoomsScene(load_contract("arena"))
