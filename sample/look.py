"""What stays the same through one synthetic match, its look, and the canvas its scenes share.

Scenes are drawn on a canvas, uint8 (396, 704, 3) BGR, a little larger than the picture, uint8
(360, 640, 3) BGR, so that the camera can pan and zoom. Places on it are (x, y) in pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

WIDTH, HEIGHT = 640, 360
CANVAS_WIDTH, CANVAS_HEIGHT = 704, 396  # room to pan and zoom without bare edges
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


def draw_ellipse(canvas, centre, axes, colour, tilt=0.0, thickness=-1) -> None:
    """Centre and half axes are (x, y) ints in eighths of a pixel; tilt in degrees; -1 fills."""
    cv2.ellipse(canvas, centre, axes, tilt, 0, 360, colour, thickness, *SMOOTH)


def put_text(picture: np.ndarray, text: str, place: tuple, size: float, colour: tuple) -> None:
    """Writes text in capital letters of about 22 * size pixels; place is its lower left corner."""
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)
