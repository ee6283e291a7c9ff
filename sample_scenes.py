"""How the scenes of a synthetic badminton broadcast look: court, players, close-up, crowd, break.

World axes in metres: x to the right, y along the court away from the main camera (the net is at
y = 0), z up. Pictures are uint8 (360, 640, 3) BGR, 0 to 255; scenes are drawn on a larger canvas,
uint8 (396, 704, 3) BGR, which the functions below change in place. Places on it are (x, y) in
pixels. Every `*_frames` function prepares what stands still in its scene once and then yields one
picture for each of its times (T,), in seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from sample_players import FIGURE_SIZE, Plan, fly_shuttle, move_body

WIDTH, HEIGHT = 640, 360
CANVAS_WIDTH, CANVAS_HEIGHT = 704, 396  # room to pan and zoom without bare edges
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
BANNERS = ("GAME POINT", "LONGEST RALLY 41", "SMASH 382 KM/H", "CHALLENGE LEFT 2", "SERVICE OVER")
NAMES = ("KIRA SOLBERG", "T. OKONJO", "LIN AMARA", "P. VANTERPOL", "RHEE", "D. MARCHETTI", "IBARRA")
OVERLAY_COLOURS = [  # plate, text
    ((60, 30, 10), (250, 250, 250)),
    ((235, 235, 235), (30, 30, 30)),
    ((20, 20, 120), (255, 255, 255)),
    ((20, 20, 20), (0, 220, 255)),
]
SMOOTH = (cv2.LINE_AA, 3)  # places and radii with 3 binary digits, in eighths of a pixel


@dataclass(frozen=True)
class Look:
    """What stays the same through one match. Colours are BGR, already under the arena's light."""

    court: tuple
    surround: tuple
    boards: tuple
    players: tuple  # for each of the two: shirt, shorts, skin, hair, shoes, racket
    light: float
    vignette: float
    names: tuple
    overlay_corner: tuple  # 0 or 1 for (right, bottom)
    overlay_colours: tuple  # plate, text
    camera: tuple  # distance behind the near baseline and height in metres, pixels per metre there


class Camera(NamedTuple):
    """Where a camera stands and looks."""

    position: np.ndarray  # (3,) in metres
    rotation: np.ndarray  # (3, 3), world axes to right, down, forward
    focal: float  # in pixels


def draw_look(rng: Generator) -> Look:
    """Invents the look of one match."""
    light = rng.uniform(0.92, 1.04)
    tint = 1 + rng.uniform(-0.02, 0.02, 3)

    def colour(hue, saturation, value):
        bgr = cv2.cvtColor(np.uint8([[[hue % 180, saturation, value]]]), cv2.COLOR_HSV2BGR)[0, 0]
        return tuple(int(c) for c in np.clip(bgr * light * tint, 0, 255))

    court_hue = rng.choice([68, 74, 80, 86])
    around_hue = rng.choice([court_hue, court_hue + 8, 96, 104])
    shirt_hue = rng.integers(180)
    players = []
    for k in range(2):
        hue = shirt_hue + k * rng.integers(50, 130)
        shirt = colour(hue, rng.integers(90, 250), rng.integers(170, 255))
        shorts = colour(rng.integers(180), rng.integers(0, 120), rng.choice([35, 60, 220]))
        skin = colour(rng.integers(8, 14), rng.integers(90, 150), rng.integers(110, 230))
        hair = colour(12, 120, rng.choice([15, 30, 60]))
        shoes = colour(rng.integers(180), 120, 230)
        players.append((shirt, shorts, skin, hair, shoes, colour(rng.integers(180), 60, 240)))
    distance = rng.uniform(15, 20)
    return Look(
        court=colour(court_hue, rng.integers(140, 170), rng.integers(118, 138)),
        surround=colour(around_hue, rng.integers(90, 130), rng.integers(68, 84)),
        boards=tuple(colour(rng.integers(180), rng.integers(120, 240), v) for v in (70, 130, 200)),
        players=tuple(players),
        light=light,
        vignette=rng.uniform(0.15, 0.25),
        names=tuple(rng.choice(NAMES, 2, replace=False)),
        overlay_corner=tuple(rng.integers(0, 2, 2)),
        overlay_colours=OVERLAY_COLOURS[rng.integers(4)],
        camera=(distance, distance * rng.uniform(0.42, 0.52), rng.uniform(70, 75)),
    )


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


def draw_ellipse(canvas, centre, axes, colour, tilt=0.0, thickness=-1) -> None:
    """Centre and half axes are (x, y) ints in eighths of a pixel; tilt in degrees; -1 fills."""
    cv2.ellipse(canvas, centre, axes, tilt, 0, 360, colour, thickness, *SMOOTH)


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


def drift(times: np.ndarray, rng: Generator) -> np.ndarray:
    """Slow pan and zoom, in half of the shots none: the seen boxes, int (T, 4), x0, y0, x1, y1."""
    speed, start = rng.uniform(0.2, 0.7, 3), rng.uniform(0, 6, 3)
    wave = np.sin(times[:, None] * speed + start) * rng.choice([0, rng.uniform(0.4, 1)])
    half = (0.5 + 0.014 * wave[:, :1]) * (WIDTH, HEIGHT)
    centre = np.array([CANVAS_WIDTH, CANVAS_HEIGHT]) / 2 + wave[:, 1:] * (14, 7)
    return np.rint(np.hstack([centre - half, centre + half])).astype(int)


def through_lens(canvas: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of the canvas in the box (x0, y0, x1, y1), as a picture."""
    x0, y0, x1, y1 = box
    return cv2.resize(canvas[y0:y1, x0:x1], (WIDTH, HEIGHT))


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


def closeup_frames(look: Look, rng: Generator, times: np.ndarray) -> Iterator[np.ndarray]:
    """Head and torso of one player, who breathes, turns a little and may wipe his face."""
    blobs = rng.integers(10, 80, (9, 16, 3)) * look.light
    blobs[rng.integers(4, 9) :] = look.boards[rng.integers(3)]
    blobs[rng.integers(6, 10) :] = look.surround
    size = (CANVAS_WIDTH, CANVAS_HEIGHT)
    background = cv2.resize(blobs.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    shirt, _, skin, hair, _, _ = look.players[rng.integers(2)]
    size, centre = rng.uniform(48, 80), rng.uniform(260, 440)
    back, wipes = rng.random() < 0.2, rng.random() < 0.35
    sway = np.sin(times[:, None] * rng.uniform(0.8, 3.5, 4) + rng.uniform(0, 6, 4))
    dark, fold = [0.75 * c for c in skin], [0.85 * c for c in shirt]
    for (a, b, c, d), box in zip(sway, drift(times, rng), strict=True):
        # Each oval: x and y of its centre, half its width and height, colour, perhaps a tilt.
        ovals = [
            (0, 3.6, 2.15, 2.3, shirt),
            (-1.7, 3.4, 0.5, 1.6, fold, 12),
            (1.7, 3.4, 0.5, 1.6, fold, -12),
            (0, 1.2, 0.42, 0.75, dark),
            (0.1 * c, -0.2, 0.83, 1.05, hair),
        ]
        if not back:
            ovals.append((0.15 * c, 0.1, 0.72, 0.95, skin))
            for eye in (-0.28, 0.28):
                ovals.append((eye + 0.22 * c, -0.02, 0.1, 0.05, (40, 40, 40)))
                ovals.append((eye + 0.22 * c, -0.2, 0.16, 0.04, hair))
            ovals.append((0.24 * c, 0.25, 0.09, 0.18, dark))
            ovals.append((0.2 * c, 0.6, 0.22, 0.05 + 0.03 * d, (70, 70, 130)))
        if wipes:
            ovals.append((0.9 - 0.3 * d, 1.5 + 0.5 * d, 0.35, 1.3, skin, 20))
            towel = (230, 230, 230)
            ovals.append((0.4 - 0.4 * d, 0.5 + 0.5 * d, 0.6, 0.45, towel, 20 * d))
        canvas = background.copy()
        for x, y, wide, high, *colour_tilt in ovals:
            place = (int((centre + 14 * a + x * size) * 8), int((170 + 5 * b + y * size) * 8))
            axes = (int(wide * size * 8), int(high * size * 8))
            draw_ellipse(canvas, place, axes, *colour_tilt)
        yield through_lens(canvas, box)


def crowd_frames(look: Look, rng: Generator, times: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of spectators who bob and, some of them, wave."""
    rows, columns = int(rng.integers(4, 8)), int(rng.integers(8, 14))
    high, wide = CANVAS_HEIGHT / rows, CANVAS_WIDTH / columns
    head = int(0.27 * min(high, wide))
    clothes = (rng.integers(20, 200, (rows, columns, 3)) * look.light).clip(0, 255)
    hair = rng.integers(10, 70, (rows, columns))
    phases, tempo = rng.uniform(0, 6, (rows, columns)), rng.uniform(2, 7, (rows, columns))
    waves = rng.random((rows, columns)) < rng.uniform(0.1, 0.6)
    shoulders = np.array([(-1.1, 1), (1.1, 1), (1.8, 5), (-1.8, 5)]) * head
    for time, box in zip(times, drift(times, rng), strict=True):
        canvas = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), 25, np.uint8)
        bob = np.sin(phases + tempo * time)
        for row, column in np.ndindex(rows, columns):
            x = int((column + 0.5 * (row % 2)) * wide)
            y = int((row + 0.2) * high + 0.1 * head * bob[row, column])
            skin = look.players[(row * column) % 2][2]
            body = ((x, y) + shoulders).astype(int)
            cv2.fillConvexPoly(canvas, body, clothes[row, column])
            cv2.circle(canvas, (x, y), head, [int(hair[row, column])] * 3, -1)
            cv2.circle(canvas, (x, y + head // 3), int(0.8 * head), skin, -1)
            if waves[row, column]:
                hand = (x + int(head * (1.6 + bob[row, column])), y - head)
                cv2.line(canvas, (x + int(1.3 * head), y + int(1.6 * head)), hand, skin, head // 3)
        yield through_lens(canvas, box)


def break_frames(look: Look, rng: Generator, times: np.ndarray, score) -> Iterator[np.ndarray]:
    """An interval board with names and score (2,) over a moving background."""
    ramp = np.linspace(0.3, 1, CANVAS_HEIGHT)[:HEIGHT, None, None]
    background = (ramp * look.boards[rng.integers(3)]).repeat(WIDTH, 1).astype(np.uint8)
    title = rng.choice(["INTERVAL", "GAME BREAK", "MATCH STATISTICS"])
    speed, top = rng.uniform(60, 200), int(rng.integers(90, 130))
    for time in times:
        picture = background.copy()
        for n in range(4):
            x = int((time * speed + n * 240) % (WIDTH + 320)) - 160
            cv2.line(picture, (x, 0), (x - 120, HEIGHT), [1.25 * c for c in look.boards[n % 3]], 30)
        cv2.rectangle(picture, (90, top - 50), (550, top + 150), (45, 35, 30), -1)
        put_text(picture, title, (110, top - 15), 0.8, (255, 255, 255))
        for n in range(2):
            y = top + 50 + 60 * n
            cv2.rectangle(picture, (105, y - 32), (535, y + 14), look.players[n][0], 2)
            put_text(picture, look.names[n], (120, y), 0.7, (240, 240, 240))
            put_text(picture, str(score[n]), (480, y), 0.8, (0, 220, 255))
        yield picture


def put_text(picture: np.ndarray, text: str, place: tuple, size: float, colour: tuple) -> None:
    """Writes text in capital letters of about 22 * size pixels; place is its lower left corner."""
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def score_panel(look: Look, score) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The box with names and score (2,), uint8 (38, 180, 3), and where it lies in the picture."""
    plate, text = look.overlay_colours
    panel = np.full((38, 180, 3), plate, np.uint8)
    for n in range(2):
        cv2.rectangle(panel, (0, 19 * n + 2), (5, 19 * n + 16), look.players[n][0], -1)
        put_text(panel, look.names[n], (10, 19 * n + 14), 0.4, text)
        put_text(panel, str(score[n]), (154, 19 * n + 14), 0.42, text)
    right, bottom = look.overlay_corner
    x, y = (24, WIDTH - 204)[right], (20, HEIGHT - 58)[bottom]
    return panel, np.s_[y : y + 38, x : x + 180]


def draw_banner(picture: np.ndarray, look: Look, text: str) -> None:
    """Draws a lower third, as broadcasts show between rallies, into the picture."""
    cv2.rectangle(picture, (110, 268), (530, 330), (235, 235, 235), -1)
    cv2.rectangle(picture, (110, 268), (530, 276), look.boards[2], -1)
    put_text(picture, text, (130, 312), 0.8, (40, 40, 40))


def wipe(picture: np.ndarray, look: Look, cover: float) -> None:
    """Draws a slanted logo band into the picture; cover runs from 0 (none) to 1 (all of it)."""
    left = WIDTH - int(cover * (WIDTH + 160))
    corners = [(left + 160, 0), (WIDTH + 400, 0), (WIDTH + 400, HEIGHT), (left, HEIGHT)]
    cv2.fillConvexPoly(picture, np.array(corners), look.boards[2], cv2.LINE_AA)
    logo = (left + WIDTH // 2 + 160, HEIGHT // 2)
    cv2.circle(picture, logo, 70, (240, 240, 240), -1)
    cv2.circle(picture, logo, 48, look.boards[0], 14)
