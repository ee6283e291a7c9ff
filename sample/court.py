"""Draw the court view of a synthetic match: arena, net, players and shuttle, as a camera sees them.

World axes in metres: x to the right, y along the court away from the main camera (the net is at
y = 0), z up. look.py defines the canvas and the picture. Functions change a canvas in place.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from scipy.interpolate import PchipInterpolator

from sample.look import (
    BOARDS,
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    COURT,
    SMOOTH,
    SPARE,
    SURROUND,
    Look,
    draw_ellipse,
    through_lens,
)
from sample.players import FIGURE_SIZE, Plan, fly_shuttle, move_body

COURT_X, COURT_Y = 3.05, 6.7  # half the width and length of the court in metres
COURT_LINES = [  # (x0, y0, x1, y1)
    *((x, -COURT_Y, x, COURT_Y) for x in (-COURT_X, -2.59, 2.59, COURT_X)),
    *((-COURT_X, y, COURT_X, y) for y in (-COURT_Y, -5.94, -1.98, 1.98, 5.94, COURT_Y)),
    *((0, -COURT_Y, 0, -1.98), (0, 1.98, 0, COURT_Y)),
]
WALLS = [  # two corners and the outward normal, (x, y) each
    ((-8.5, 10.5), (8.5, 10.5), (0, 1)),
    ((-8.5, -10.5), (8.5, -10.5), (0, -1)),
    ((-8.5, -10.5), (-8.5, 10.5), (-1, 0)),
    ((8.5, -10.5), (8.5, 10.5), (1, 0)),
]


class Camera(NamedTuple):
    """The position and direction of a camera."""

    position: np.ndarray  # (3,) in metres
    rotation: np.ndarray  # (3, 3), from world axes to the camera's right, down, forward
    focal: float  # focal length in pixels


def look_at(position: tuple, target: tuple, focal: float) -> Camera:
    """A camera at position (3,) that looks at target (3,), in metres; focal length in pixels."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0, 0, 1)) / np.linalg.norm(np.cross(forward, (0, 0, 1)))
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Camera(np.asarray(position, float), rotation, focal)


def project(camera: Camera, points) -> tuple[np.ndarray, np.ndarray]:
    """World points (..., 3) in metres -> canvas pixels (..., 2) and pixels per metre (...)."""
    seen = (np.asarray(points, float) - camera.position) @ camera.rotation.T
    scale = camera.focal / np.maximum(seen[..., 2], 0.4)
    return seen[..., :2] * scale[..., None] + (CANVAS_WIDTH / 2, CANVAS_HEIGHT / 2), scale


def main_camera() -> Camera:
    """The camera of the court view: the same in all matches, as in one tournament."""
    return look_at((0, -COURT_Y - 17, 8), (0, 1, 0.6), 72 * np.hypot(17, 8))


def replay_camera(rng: Generator) -> Camera:
    """A low camera beside the court."""
    side = rng.choice([-1, 1])
    position = (side * rng.uniform(8, 8.4), rng.uniform(-6, 2), rng.uniform(1.6, 3))
    return look_at(position, (-side, rng.uniform(-2.5, 2.5), 1.1), rng.uniform(430, 560))


def follow_shuttle(plan: Plan, times: np.ndarray, rng: Generator) -> np.ndarray:
    """The visible corner (x, y) of the canvas at each time, int (T, 2), for the main camera.

    During a rally the camera tilts: lower at each stroke, higher between strokes, as the shuttle
    flies. Otherwise it rests at a random place in the same range, so that its direction in a single
    picture says little about play.
    """
    strokes = np.array((*plan.hits, plan.landing))
    moments = np.sort([*strokes, *(strokes[1:] + strokes[:-1]) / 2])
    aims = rng.uniform((-0.3, 0.7), (0.3, 1), (len(moments), 2))
    aims[1::2, 1] *= -1
    aims[[0, -1]] = rng.uniform((-0.3, -1), (0.3, 1), (2, 2))
    aims = PchipInterpolator(moments, aims)(np.clip(times, moments[0], moments[-1]))
    return np.rint(SPARE * (1 + aims)).astype(int)


def fill(canvas: np.ndarray, camera: Camera, corners, colour) -> None:
    """Fills the polygon with corners (N, 3), in metres, on a canvas or a mask."""
    cv2.fillPoly(canvas, [np.int32(project(camera, corners)[0] * 8)], colour, *SMOOTH)


def upright(start, end, low: float, high: float) -> list[tuple]:
    """Corners of a vertical rectangle above the floor line from start to end, (x, y) in metres."""
    return [(*start, low), (*end, low), (*end, high), (*start, high)]


def arena_canvas(camera: Camera, rng: Generator) -> np.ndarray:
    """A canvas with floor, stands, advertising boards and court lines, without people."""
    canvas = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), SURROUND, np.uint8)
    seats = rng.integers(0, 90, (CANVAS_HEIGHT // 6, CANVAS_WIDTH // 5, 3))
    stands = cv2.resize(seats.astype(np.uint8), (CANVAS_WIDTH, CANVAS_HEIGHT))
    mask = np.zeros(canvas.shape[:2], np.uint8)
    # Leave out a wall between the camera and the court: it would hide the court.
    walls = [
        np.array([start, end])
        for start, end, outward in WALLS
        if np.dot(camera.position[:2] - start, outward) < 0
    ]
    for start, end in walls:
        fill(mask, camera, upright(start, end, 0, 15), 255)
    cv2.copyTo(stands, mask, canvas)
    for start, end in walls:
        for k, (a, b) in enumerate(pairwise(np.linspace(start, end, 9))):
            fill(canvas, camera, upright(a, b, 0, 1), BOARDS[k % 3])
    floor = [(x, y, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    fill(canvas, camera, np.array(floor) * (COURT_X, COURT_Y, 0), COURT)
    for x0, y0, x1, y1 in COURT_LINES:
        side = np.array((0.03, 0, 0) if x0 == x1 else (0, 0.045, 0))
        a, b = np.array((x0, y0, 0)), np.array((x1, y1, 0))
        fill(canvas, camera, [a - side, b - side, b + side, a + side], (215, 220, 220))
    return canvas


def net_overlay(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The net: a canvas of its colours and its mask, uint8 (468, 704) of 0 or 255."""
    colours = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), 60, np.uint8)
    mask = np.zeros(colours.shape[:2], np.uint8)
    left, right = (-COURT_X, 0), (COURT_X, 0)
    fill(mask, camera, upright(left, right, 0.78, 1.5), 255)
    mask[1::2] = mask[:, 1::2] = 0  # the mesh covers one pixel in four
    posts = [upright((x - 0.04, 0), (x + 0.04, 0), 0, 1.56) for x in (-COURT_X, COURT_X)]
    for shape, grey in ((upright(left, right, 1.49, 1.56), 235), (posts[0], 90), (posts[1], 90)):
        fill(colours, camera, shape, (grey, grey, grey))
        fill(mask, camera, shape, 255)
    return colours, mask


def draw_figure(canvas: np.ndarray, joints: np.ndarray, scale: float, colours, away: bool) -> None:
    """Draws a player from joints (18, 2) in pixels; scale in pixels per metre.

    away: the player looks away from the camera, so no face is drawn.
    """
    shirt, shorts, skin, hair, shoes, racket = colours
    points = list(map(tuple, (joints * 8).astype(int).tolist()))

    def limb(a, b, width, colour):
        cv2.line(canvas, points[a], points[b], colour, max(2, round(width * scale)), *SMOOTH)

    def disc(centre, radius, colour):
        cv2.circle(canvas, centre, int(radius * scale * 8), colour, -1, *SMOOTH)

    for hip in (12, 9):
        limb(hip + 1, hip + 2, 0.11, skin)
        limb(hip, hip + 1, 0.18, shorts)
        disc(points[hip + 2], 0.085, shoes)
    limb(6, 7, 0.12, shirt)
    limb(7, 8, 0.085, skin)
    limb(9, 12, 0.2, shorts)
    torso = np.array([points[3], points[6], points[12], points[9]])
    cv2.fillConvexPoly(canvas, torso, shirt, *SMOOTH)
    limb(3, 6, 0.14, shirt)
    limb(0, 1, 0.26, shirt)
    disc(points[2], 0.125, hair)
    if not away:
        disc((points[2][0], points[2][1] + int(0.3 * scale)), 0.1, skin)
    limb(3, 4, 0.12, shirt)
    limb(4, 5, 0.085, skin)
    cv2.line(canvas, points[5], points[15], racket, max(1, round(0.03 * scale)), *SMOOTH)
    dx, dy = joints[17] - joints[15]
    axes = (int(4 * np.hypot(dx, dy)) + 4, int(0.11 * scale * 8))
    tilt = np.degrees(np.arctan2(dy, dx))
    draw_ellipse(canvas, points[16], axes, racket, tilt, max(1, round(0.035 * scale)))


def play_frames(
    look: Look,
    camera: Camera,
    rng: Generator,
    times: np.ndarray,
    plan: Plan,
    corners: np.ndarray,
) -> Iterator[np.ndarray]:
    """Yields pictures of the players on court: rallies, the court without play, and replays.

    times (T,) are in seconds on the plan's clock. corners (T, 2) are the top left corners of the
    visible part of the canvas.
    """
    background, (net, net_mask) = arena_canvas(camera, rng), net_overlay(camera)
    bodies = np.array([move_body(plan.keys[side], times, far=side == 1) for side in (0, 1)])
    shuttle, shuttle_scale = project(camera, fly_shuttle(rng, times, bodies, plan))
    joints, scales = project(camera, bodies)  # (2, T, 18, 2), (2, T, 18)
    scales = scales[..., 0] * FIGURE_SIZE
    ground, _ = project(camera, bodies[:, :, 0] * (1, 1, 0))
    for k, corner in enumerate(corners):
        canvas = background.copy()
        for n, side in enumerate(np.argsort(scales[:, k])):  # the farther player first, then net
            body, scale = bodies[side, k], scales[side, k]
            on_court = abs(body[0, 0]) < COURT_X and abs(body[0, 1]) < COURT_Y
            shadow = [0.7 * c for c in (COURT if on_court else SURROUND)]
            centre = tuple(int(c * 8) for c in ground[side, k])
            draw_ellipse(canvas, centre, (int(3.4 * scale), int(1.3 * scale)), shadow)
            across = (body[3] - body[6])[:2]
            away = np.dot((-across[1], across[0]), body[1, :2] - camera.position[:2]) > 0
            draw_figure(canvas, joints[side, k], scale, look.players[side], away)
            if n == 0:
                cv2.copyTo(net, net_mask, canvas)
        trail = np.int32(shuttle[max(k - 1, 0) : k + 1].reshape(-1, 1, 2) * 8)
        width = max(2, round(0.05 * shuttle_scale[k]))
        cv2.polylines(canvas, [trail], False, (250, 250, 250), width, *SMOOTH)
        yield through_lens(canvas, corner)
