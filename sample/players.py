"""The movement of players and shuttle in a synthetic badminton match; court.py draws them.

World axes in metres: x to the right, y along the court away from the main camera (the net is at
y = 0), z up. Both players are planned on the near side; move_body turns the far one round. A place
is float (2,), x and y. Times are in seconds on the clock of the plan.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.interpolate import PchipInterpolator

BASE = np.array([0.0, -3.7])  # where a player waits for the next stroke
ARM, LEG = 0.31, 0.46  # length of one arm or leg bone in metres
FIGURE_SIZE = 1.15  # players are a little larger than life, to stay visible in 224 pixels
STROKE_DEPTHS = {"smash": (4.4, 6.2), "lunge": (1.3, 2.4), "side": (2.8, 4.6)}  # metres from net
# Seven points of a right-handed player facing +y, in cm as (x, y, z): pelvis, neck, racket hand,
# free hand, direction of the racket, right foot, left foot. Elbows and knees follow from these.
# fmt: off
POSES_CM = {
    "stand": (0,0,95, 0,2,150, 27,6,88, -27,6,88, 5,40,-60, 13,0,0, -13,0,0),
    "rest": (0,0,95, 0,4,149, 24,0,104, -24,0,104, 10,50,-60, 19,0,0, -16,4,0),
    "towel": (0,0,94, 0,8,148, 12,26,150, -10,26,156, 30,-20,-80, 15,0,0, -15,5,0),
    "pickup": (0,-25,62, 0,32,92, 25,10,55, -8,62,8, 10,50,-30, 22,10,0, -20,-25,0),
    "receive": (0,0,80, 0,25,130, 28,45,132, -32,42,128, 0,40,85, 18,-42,0, -16,42,0),
    "serve-ready": (0,0,92, 0,6,147, 36,0,88, -8,46,112, 12,-25,-60, 15,-26,0, -12,30,0),
    "serve": (0,4,90, 0,12,144, 12,52,92, -26,40,120, -20,70,-25, 15,-26,0, -12,32,0),
    "ready": (0,-5,74, 0,22,124, 34,52,108, -38,42,102, -20,60,70, 44,12,0, -44,-10,0),
    "smash-before": (0,-5,88, -6,-12,142, 42,-34,162, -32,46,178, 10,-70,-20, 36,-48,0, -30,36,0),
    "smash": (0,2,96, 0,8,150, 28,30,216, -36,8,110, 0,35,90, 30,-42,6, -36,30,4),
    "smash-after": (0,8,80, -6,34,126, -22,60,76, -42,-22,112, -50,20,-70, 22,56,0, -30,-52,0),
    "lunge-before": (10,8,76, 14,34,126, 42,60,112, -42,-36,122, 40,-40,50, 30,52,0, -22,-48,0),
    "lunge": (14,8,54, 24,42,102, 46,98,96, -48,-58,118, 20,90,15, 36,90,0, -26,-82,0),
    "lunge-after": (14,6,56, 22,40,106, 24,88,138, -46,-50,118, -30,60,80, 36,90,0, -26,-82,0),
    "side-before": (14,0,72, 24,12,122, 76,-18,118, -56,16,116, 50,-70,30, 72,14,0, -52,-10,0),
    "side": (20,4,60, 34,18,108, 88,34,110, -60,10,112, 75,60,10, 90,22,0, -58,-12,0),
    "side-after": (16,4,64, 28,22,114, 0,62,132, -52,0,112, -80,20,50, 84,20,0, -54,-12,0),
}
# fmt: on


class Key(NamedTuple):
    """A keyframe of a player. Between two keys the player moves smoothly."""

    time: float
    place: np.ndarray
    jump: float  # height above the floor in metres
    facing: float  # angle to the left of the direction to the net, in radians
    pose: str  # a name in POSES_CM; the suffix "-left" mirrors it


@dataclass(frozen=True)
class Plan:
    """What both players and the shuttle do in one shot, around its rally."""

    keys: tuple[list[Key], list[Key]]  # of the near player (0) and the far player (1)
    server: int
    loser: int
    spot: np.ndarray  # the place where the shuttle lands, as if the loser played on the near side
    landing: float  # time of the landing
    picked: float  # time when the loser picks the shuttle up; infinity for never
    hits: tuple[float, ...]  # times of the hits, the serve first


def plan_point(
    rng: Generator, start: float, end: float, hits: tuple, landing: float, server: int
) -> Plan:
    """Draws a random plan of the court from start to end, around the given hits and landing."""
    keys = ([], [])
    spot = np.array([rng.uniform(-2.8, 2.8), -rng.uniform(1.0, 6.5)])
    loser, picked = (server + len(hits)) % 2, np.inf
    for side in (0, 1):
        pose = "serve-ready" if side == server else "receive"
        keys[side].extend(_take_position(rng, start, hits[0], pose))
    for k, hit in enumerate(hits):
        hitter, other = keys[(server + k) % 2], keys[(server + k + 1) % 2]
        if k == 0:
            hitter.append(Key(hit, hitter[-1].place, 0, 0, "serve"))
            other.append(Key(hit, other[-1].place, 0, 0, "receive"))
        else:
            hitter.extend(_strike(rng, hit))
            other.append(Key(hit, BASE + rng.normal(0, 0.4, 2), 0, 0, "ready"))
    for side in (0, 1):
        reach = spot + (BASE - spot) * 0.2 if side == loser else BASE + rng.normal(0, 0.5, 2)
        dive = side == loser and rng.random() < 0.6
        lunge = "lunge-left" if spot[0] < 0 else "lunge"
        keys[side].append(Key(landing, reach, 0, 0, lunge if dive else "ready"))
        time = landing + rng.uniform(0.5, 0.9)
        keys[side].append(Key(time, reach * 0.97, 0, 0, "stand"))
        errand = ("pickup", spot) if side == loser and rng.random() < 0.7 else None
        walk = _stroll(rng, keys[side][-1], end, errand)
        keys[side].extend(walk)
        if errand and walk:
            picked = walk[2].time
    return Plan(keys, server, loser, spot, landing, picked, hits)


def _take_position(rng: Generator, start: float, serve: float, pose: str) -> list[Key]:
    """Keys of a player who walks to the place of serving or receiving and waits there in `pose`."""
    place = np.array([rng.choice([-1, 1]) * rng.uniform(0.3, 0.8), -rng.uniform(2.2, 2.8)])
    stance = serve - 0.25 - min(rng.uniform(0.5, 1.5), 0.55 * (serve - start))
    walked = rng.uniform(0.8, 1.3) * (stance - start + 0.6)
    angle = rng.uniform(0, 2 * np.pi)
    origin = place + walked * np.array([np.cos(angle), np.sin(angle)])
    origin = np.clip(origin, (-4.5, -7.5), (4.5, -0.6))
    heading = _half_turn(np.arctan2(*((place - origin) * (-1, 1))))
    return [
        Key(start - 1, origin, 0, heading, "stand"),
        Key(stance - 0.4, place, 0, heading, "stand"),
        Key(stance, place, 0, 0, pose),
        Key(serve - 0.2, place, 0, 0, pose),
    ]


def _strike(rng: Generator, hit: float) -> list[Key]:
    """Keys of a player around a stroke at time `hit`."""
    stroke = str(rng.choice(list(STROKE_DEPTHS), p=[0.45, 0.3, 0.25]))
    x = rng.choice([-1, 1]) * rng.uniform(0.8, 2.3)
    place = np.array([x, -rng.uniform(*STROKE_DEPTHS[stroke])])
    facing, jump = -0.4 * np.sign(x), 0.4 * (stroke == "smash") * (rng.random() < 0.5)
    left = "-left" if x < 0 and stroke != "smash" else ""
    return [
        Key(hit - 0.16, place, 0.7 * jump, facing, f"{stroke}-before{left}"),
        Key(hit, place, jump, facing, f"{stroke}{left}"),
        Key(hit + 0.15, place, 0, facing, f"{stroke}-after{left}"),
        Key(hit + 0.5, place + 0.35 * (BASE - place), 0, 0, "ready"),
    ]


def _stroll(rng: Generator, last: Key, until: float, errand: tuple | None) -> list[Key]:
    """Keys after `last`, between rallies: the player walks to errands at about 1 m/s until `until`.

    An errand is (pose, place). If errand is None, the first one is random, too. The list is empty
    if no time is left.
    """
    keys, (time, place, _, facing, _) = [], last
    while time < until:
        pose, goal = errand or _draw_errand(rng)
        errand = None
        step = goal - place
        facing += _half_turn(np.arctan2(-step[0], step[1]) - facing)
        arrival = time + 0.3 + np.linalg.norm(step) / rng.uniform(0.8, 1.3)
        keys.append(Key(time + 0.3, place + 0.03 * step, 0, facing, "stand"))
        keys.append(Key(arrival, place + step, 0, facing, "stand"))
        place, facing = place + step, facing + rng.uniform(-0.9, 0.9)
        time = arrival + 0.5 + rng.uniform(0.5, 1.8)
        keys.append(Key(arrival + 0.5, place, 0, facing, pose))
        keys.append(Key(time, place, 0, facing, pose))
    return keys


def _draw_errand(rng: Generator) -> tuple[str, tuple]:
    """A random reason to walk between rallies: (pose, place)."""
    errands = [
        ("towel", (rng.choice([-1, 1]) * rng.uniform(3.6, 4.6), rng.uniform(-5.5, -1))),
        ("rest", (rng.uniform(-2.5, 2.5), rng.uniform(-6, -2))),
        ("pickup", (rng.uniform(-3, 3), rng.uniform(-6, -0.8))),
        ("stand", (rng.uniform(-2, 2), rng.uniform(-1.2, -0.7))),
        ("stand", (rng.uniform(-3, 3), rng.uniform(-7.2, -5.5))),
    ]
    return errands[rng.integers(len(errands))]


def _half_turn(angle: float) -> float:
    """The same angle between -pi and pi, so that players turn the short way round."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def move_body(keys: list[Key], times: np.ndarray, far: bool) -> np.ndarray:
    """The joints of one player at times (S,), from the player's keys: float (S, 18, 3) in metres.

    Joints: 0 pelvis, 1 neck, 2 head, 3-5 racket arm, 6-8 free arm, 9-11 right leg, 12-14 left leg,
    15-17 throat, middle and tip of the racket.
    """
    values = [(*key.place, key.jump, key.facing, *_pose_points(key.pose).ravel()) for key in keys]
    key_times = [key.time for key in keys]
    values = PchipInterpolator(key_times, values)(np.clip(times, key_times[0], key_times[-1]))
    place, jump, facing = values[:, :2], values[:, 2], values[:, 3]  # (S, 2), (S,), (S,)
    points = values[:, 4:].reshape(-1, 7, 3)
    _add_steps(points, place, facing, times)
    joints = _build_skeleton(points) * FIGURE_SIZE
    across, along = np.cos(facing)[:, None], np.sin(facing)[:, None]
    x = joints[..., 0] * across - joints[..., 1] * along + place[:, :1]
    y = joints[..., 0] * along + joints[..., 1] * across + place[:, 1:]
    z = joints[..., 2] + jump[:, None]
    return np.stack([-x, -y, z] if far else [x, y, z], -1)


def _pose_points(pose: str) -> np.ndarray:
    """The seven points of a pose, float (7, 3) in metres."""
    points = np.reshape(POSES_CM[pose.removesuffix("-left")], (7, 3)) / 100
    if pose.endswith("-left"):  # mirror the body, but keep the racket in the same hand
        points = (points * (-1, 1, 1))[[0, 1, 2, 3, 4, 6, 5]]
    return points


def _add_steps(points: np.ndarray, place: np.ndarray, facing: np.ndarray, times: np.ndarray):
    """Swings the feet and hands of a walking player. Changes points (S, 7, 3) in place."""
    across, along = np.cos(facing), np.sin(facing)
    step = np.diff(place, axis=0, prepend=place[:1])
    vx, vy = (step / np.diff(times, prepend=times[0] - 1)[:, None]).T
    velocity = np.stack([vx * across + vy * along, vy * across - vx * along], 1)  # body axes
    speed = np.linalg.norm(velocity, axis=1)
    phase = np.cumsum(np.linalg.norm(step, axis=1) * 2 * np.pi / np.clip(0.8 + speed / 3, 1, 2))
    reach = np.sin(phase) * np.clip(0.1 + 0.2 * speed, 0, 0.5)
    swing = velocity / np.maximum(speed, 0.3)[:, None] * reach[:, None]
    lift = np.clip(speed, 0, 3)[:, None] * 0.09
    feet, hands = points[:, 5:7], points[:, 2:4]
    feet[..., :2] += np.stack([swing, -swing], 1)
    feet[..., 2] += lift * np.clip(np.stack([np.cos(phase), -np.cos(phase)], 1), 0, 1)
    hands[..., :2] -= 0.6 * np.stack([swing, -swing], 1)
    points[:, 1:4] += 0.012 * np.sin(times * 2.1)[:, None, None]  # breathing


def _build_skeleton(points: np.ndarray) -> np.ndarray:
    """The seven points of a pose (S, 7, 3) -> the joints of move_body (S, 18, 3)."""
    pelvis, neck, right_hand, left_hand, racket, right_foot, left_foot = np.moveaxis(points, 1, 0)
    side = np.array([1.0, 0, 0])
    joints = [pelvis, neck, neck + 0.24 * _unit(neck - pelvis + (0, 0.06, 0))]
    for hand, sign in ((right_hand, 1), (left_hand, -1)):
        shoulder = neck + sign * 0.19 * side - (0, 0, 0.06)
        joints += _bend(shoulder, hand, ARM, (sign * 0.5, -0.4, -1))
    for foot, sign in ((right_foot, 1), (left_foot, -1)):
        ankle = foot + (0, 0, 0.08)
        joints += _bend(pelvis + sign * 0.1 * side, ankle, LEG, (sign * 0.1, 1, 0))
    joints += [joints[5] + length * _unit(racket) for length in (0.36, 0.54, 0.68)]
    return np.stack(joints, 1)


def _bend(root: np.ndarray, end: np.ndarray, bone: float, towards: tuple) -> list[np.ndarray]:
    """The three joints (S, 3) of a limb with two bones; the middle joint bends `towards` (3,)."""
    reach = np.linalg.norm(end - root, axis=-1, keepdims=True)
    end = root + _unit(end - root) * np.minimum(reach, 2 * bone)
    out = np.sqrt(np.maximum(bone**2 - np.minimum(reach, 2 * bone) ** 2 / 4, 0))
    return [root, (root + end) / 2 + out * _unit(np.array(towards, float)), end]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3), scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def fly_shuttle(rng: Generator, times: np.ndarray, bodies: list, plan: Plan) -> np.ndarray:
    """The shuttle at times (S,), float (S, 3) in metres: held, in flight, on the floor, picked up.

    bodies are the joints of both players, (S, 18, 3) each. The shuttle flies from racket to racket
    over the net, and slows down on the way.
    """
    spot = np.array([*plan.spot, 0.03]) * ((-1, -1, 1) if plan.loser else (1, 1, 1))
    path = np.repeat(spot[None], len(times), 0)
    held = times < plan.hits[0]
    path[held] = bodies[plan.server][held, 8] + (0, 0, 0.06)
    ends = (*plan.hits, plan.landing)[1:]
    for k, (hit, until) in enumerate(zip(plan.hits, ends, strict=True)):
        hitter, other = bodies[(plan.server + k) % 2], bodies[(plan.server + k + 1) % 2]
        start = np.array([np.interp(hit, times, hitter[:, 16, axis]) for axis in range(3)])
        stop = np.array([np.interp(until, times, other[:, 16, axis]) for axis in range(3)])
        stop = spot if until == plan.landing else stop
        now = (times >= hit) & (times < until)
        u = ((times[now] - hit) / (until - hit))[:, None]
        at_net = np.clip(start[1] / (start[1] - stop[1]), 0.1, 0.9)
        clear = rng.uniform(1.7, 2.2) - start[2] - at_net * (stop[2] - start[2])
        lift = max(clear / (4 * at_net * (1 - at_net)), rng.uniform(0.5, 1.4) * (until - hit) ** 2)
        path[now] = start + (stop - start) * u * (1.3 - 0.3 * u)
        path[now, 2:] = start[2] + (stop[2] - start[2]) * u + lift * 4 * u * (1 - u)
    held = times >= plan.picked
    path[held] = bodies[plan.loser][held, 8]
    return path
