"""The court of a synthetic match seen by a camera: arena, net, players and shuttle in a shot.

World axes in metres: x to the right, y along the court away from the main camera (the net is at
y = 0), z up. Canvas and picture are those of look.py; functions change a canvas in place.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from sample.look import CANVAS_HEIGHT, CANVAS_WIDTH, SMOOTH, Look, draw_ellipse, drift, through_lens
from sample.players import FIGURE_SIZE, Plan, fly_shuttle, move_body

COURT_X, COURT_Y = 3.05, 6.7  # half the court in metres
COURT_LINES = [  # (x0, y0, x1, y1)
    *((x, -COURT_Y, x, COURT_Y) for x in (-COURT_X, -2.59, 2.59, COURT_X)),
    *((-COURT_X, y, COURT_X, y) for y in (-COURT_Y, -5.94, -1.98, 1.98, 5.94, COURT_Y)),
    *((0, -COURT_Y, 0, -1.98), (0, 1.98, 0, COURT_Y)),
]
WALLS = [  # corner, corner and outward normal, in (x, y)
    ((-8.5, 10.5), (8.5, 10.5), (0, 1)),
    ((-8.5, -10.5), (8.5, -10.5), (0, -1)),
    ((-8.5, -10.5), (-8.5, 10.5), (-1, 0)),
    ((8.5, -10.5), (8.5, 10.5), (1, 0)),
]


class Camera(NamedTuple):
    """Where a camera stands and looks."""

    position: np.ndarray  # (3,) in metres
    rotation: np.ndarray  # (3, 3), world axes to right, down, forward
    focal: float  # in pixels


def look_at(position: tuple, target: tuple, focal: float) -> Camera:
    """A camera at position (3,) that looks at target (3,), both in metres; focal in pixels."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0, 0, 1)) / np.linalg.norm(np.cross(forward, (0, 0, 1)))
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Camera(np.asarray(position, float), rotation, focal)


def project(camera: Camera, points) -> tuple[np.ndarray, np.ndarray]:
    """World points (..., 3) in metres -> canvas pixels (..., 2) and pixels per metre (...)."""
    seen = (np.asarray(points, float) - camera.position) @ camera.rotation.T
    scale = camera.focal / np.maximum(seen[..., 2], 0.4)
    return seen[..., :2] * scale[..., None] + (CANVAS_WIDTH / 2, CANVAS_HEIGHT / 2), scale


def main_camera(look: Look, rng: Generator) -> Camera:
    """The court view; each shot stands a little different, in rallies and between them alike."""
    distance, height, scale = look.camera * (1 + rng.uniform(-0.03, 0.03, 3))
    position = (rng.uniform(-0.5, 0.5), -COURT_Y - distance, height)
    target = (rng.uniform(-0.3, 0.3), rng.uniform(0.6, 1.4), 0.6)
    return look_at(position, target, scale * np.hypot(distance, height))


def replay_camera(rng: Generator) -> Camera:
    """A camera low beside the court or behind it."""
    if rng.random() < 0.6:
        side = rng.choice([-1, 1])
        position = (side * rng.uniform(8, 8.4), rng.uniform(-6, 2), rng.uniform(1.6, 3))
        return look_at(position, (-side, rng.uniform(-2.5, 2.5), 1.1), rng.uniform(430, 560))
    position = (rng.uniform(-3, 3), rng.uniform(-15, -13), rng.uniform(1.6, 2.6))
    return look_at(position, (0, 0, 1.2), rng.uniform(620, 760))


def fill(canvas: np.ndarray, camera: Camera, corners, colour) -> None:
    """Fills the polygon of world points (N, 3) in metres, on a canvas or a mask."""
    cv2.fillPoly(canvas, [np.int32(project(camera, corners)[0] * 8)], colour, *SMOOTH)


def upright(start, end, low: float, high: float) -> list[tuple]:
    """Corners of a standing rectangle over the floor's line from start to end, (x, y) in metres."""
    return [(*start, low), (*end, low), (*end, high), (*start, high)]


def arena_canvas(look: Look, camera: Camera, rng: Generator) -> np.ndarray:
    """A canvas with floor, stands, boards and court lines, without people."""
    canvas = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), look.surround, np.uint8)
    seats = rng.integers(0, 90, (CANVAS_HEIGHT // 6, CANVAS_WIDTH // 5, 3)) * look.light
    stands = cv2.resize(seats.astype(np.uint8), (CANVAS_WIDTH, CANVAS_HEIGHT))
    mask = np.zeros(canvas.shape[:2], np.uint8)
    # A wall that the camera stands behind would hide the court.
    walls = [
        np.array([start, end])
        for start, end, outward in WALLS
        if np.dot(camera.position[:2] - start, outward) < 0
    ]
    for start, end in walls:
        fill(mask, camera, upright(start, end, 0, 15), 255)
    cv2.copyTo(stands, mask, canvas)
    for start, end in walls:
        for k in range(8):
            a, b = start + (end - start) * k / 8, start + (end - start) * (k + 1) / 8
            fill(canvas, camera, upright(a, b, 0, 1), look.boards[k % 3])
            for x in np.arange(0.2, 0.8, 0.15):
                letter = a + (b - a) * x
                corners = upright(letter, letter + (b - a) * 0.08, 0.35, 0.7)
                fill(canvas, camera, corners, (225, 225, 225))
    floor = [(x, y, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    fill(canvas, camera, np.array(floor) * (COURT_X, COURT_Y, 0), look.court)
    for x0, y0, x1, y1 in COURT_LINES:
        side = np.array((0.03, 0, 0) if x0 == x1 else (0, 0.045, 0))
        a, b = np.array((x0, y0, 0)), np.array((x1, y1, 0))
        fill(canvas, camera, [a - side, b - side, b + side, a + side], (215, 220, 220))
    y, x = np.ogrid[-1 : 1 : CANVAS_HEIGHT * 1j, -1 : 1 : CANVAS_WIDTH * 1j]
    return (canvas * (1 - look.vignette * (x**2 + y**2) / 2)[..., None]).astype(np.uint8)


def net_overlay(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The net as a canvas of its colours and its mask, uint8 (396, 704) of 0 or 255."""
    colours = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), 60, np.uint8)
    mask = np.zeros(colours.shape[:2], np.uint8)
    left, right = (-COURT_X, 0), (COURT_X, 0)
    fill(mask, camera, upright(left, right, 0.78, 1.5), 255)
    mask[1::2] = mask[:, 1::2] = 0  # one pixel in four is mesh
    posts = [upright((x - 0.04, 0), (x + 0.04, 0), 0, 1.56) for x in (-COURT_X, COURT_X)]
    for shape, grey in ((upright(left, right, 1.49, 1.56), 235), (posts[0], 90), (posts[1], 90)):
        fill(colours, camera, shape, (grey, grey, grey))
        fill(mask, camera, shape, 255)
    return colours, mask


def draw_figure(canvas: np.ndarray, joints: np.ndarray, scale: float, colours, away: bool) -> None:
    """Draws a player from joints (18, 2) in pixels; scale in pixels per metre, away: no face."""
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


def draw_blurred(canvas: np.ndarray, exposures: np.ndarray, scale: float, colours, away) -> None:
    """Draws the average of a player's joints (N, 18, 2) while the shutter is open: limbs smear."""
    reach = 0.3 * scale
    x0, y0 = np.maximum(np.floor(exposures.min((0, 1)) - reach), 0).astype(int)
    last = np.minimum(np.ceil(exposures.max((0, 1)) + reach), (CANVAS_WIDTH, CANVAS_HEIGHT))
    x1, y1 = last.astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    patch = canvas[y0:y1, x0:x1]
    if np.abs(exposures[0] - exposures[-1]).max() < 1:
        exposures = exposures[-1:]
    clean = patch.copy()
    draw_figure(patch, exposures[0] - (x0, y0), scale, colours, away)
    for n, joints in enumerate(exposures[1:], 2):
        layer = clean.copy()
        draw_figure(layer, joints - (x0, y0), scale, colours, away)
        cv2.addWeighted(patch, 1 - 1 / n, layer, 1 / n, 0, dst=patch)


def play_frames(
    look: Look,
    camera: Camera,
    rng: Generator,
    times: np.ndarray,
    plan_times: np.ndarray,
    shutter_sec: float,
    plan: Plan,
) -> Iterator[np.ndarray]:
    """Players on court: rallies, court view without play and, with another camera, replays.

    times (T,) move the camera and plan_times (T,) the players; they differ in slow motion.
    """
    T = len(times)
    background, (net, net_mask) = arena_canvas(look, camera, rng), net_overlay(camera)
    exposures = np.stack([plan_times - shutter_sec, plan_times - shutter_sec / 2, plan_times], 1)
    bodies = [
        move_body(keys, exposures.ravel(), far)
        for keys, far in zip(plan.keys, (False, True), strict=True)
    ]
    shuttle = fly_shuttle(rng, exposures.ravel(), bodies, plan)
    joints, scales = project(camera, bodies)
    joints = joints.reshape(2, T, 3, 18, 2)
    scales = scales.reshape(2, T, 3, 18)[:, :, 2, 0] * FIGURE_SIZE
    bodies = np.array(bodies)[:, 2::3]  # (2, T, 18, 3), when the shutter closes
    ground, _ = project(camera, bodies[:, :, 0] * (1, 1, 0))
    shuttle, shuttle_scale = project(camera, shuttle)
    shuttle, shuttle_scale = shuttle.reshape(T, 3, 2), shuttle_scale[2::3]
    for k, box in enumerate(drift(times, rng)):
        canvas = background.copy()
        for n, side in enumerate(np.argsort(scales[:, k])):  # the farther player first
            body, scale = bodies[side, k], scales[side, k]
            on_court = abs(body[0, 0]) < COURT_X and abs(body[0, 1]) < COURT_Y
            shadow = [0.7 * c for c in (look.court if on_court else look.surround)]
            centre = tuple(int(c * 8) for c in ground[side, k])
            draw_ellipse(canvas, centre, (int(3.4 * scale), int(1.3 * scale)), shadow)
            across = (body[3] - body[6])[:2]
            away = np.dot((-across[1], across[0]), body[1, :2] - camera.position[:2]) > 0
            draw_blurred(canvas, joints[side, k], scale, look.players[side], away)
            if n == 0:
                cv2.copyTo(net, net_mask, canvas)
        trail = np.int32(shuttle[max(k - 1, 0) : k + 1].reshape(-1, 1, 2) * 8)
        width = max(2, round(0.05 * shuttle_scale[k]))
        cv2.polylines(canvas, [trail], False, (200, 205, 205), max(1, width - 1), *SMOOTH)
        cv2.polylines(canvas, [trail[-2:]], False, (250, 250, 250), width, *SMOOTH)
        yield through_lens(canvas, box)
