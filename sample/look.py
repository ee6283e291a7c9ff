"""The look of a synthetic match, the same in all its scenes, and the canvas to draw scenes on.

The canvas is uint8 (468, 704, 3) BGR. It is a little larger than the picture, uint8 (360, 640, 3)
BGR, so that the camera can pan. Places on the canvas are (x, y) in pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

WIDTH, HEIGHT = 640, 360
CANVAS_WIDTH, CANVAS_HEIGHT = 704, 468  # leaves room to pan
SPARE = np.array((CANVAS_WIDTH - WIDTH, CANVAS_HEIGHT - HEIGHT)) / 2
NAMES = ("KIRA SOLBERG", "T. OKONJO", "LIN AMARA", "P. VANTERPOL", "RHEE", "D. MARCHETTI", "IBARRA")
COURT, SURROUND = (85, 122, 46), (70, 66, 44)  # floor colours inside and outside the court, BGR
BOARDS = ((20, 60, 70), (125, 60, 30), (60, 90, 195))  # colours of the advertising boards, BGR
SMOOTH = (cv2.LINE_AA, 3)  # OpenCV's lineType and shift: coordinates are in eighths of a pixel


@dataclass(frozen=True)
class Look:
    """The look of one match. The hall is the same in all matches, as in one tournament."""

    players: tuple  # for each player the BGR colours of shirt, shorts, skin, hair, shoes, racket
    names: tuple  # of the two players, str


def draw_look(rng: Generator) -> Look:
    """Draws a random look for one match."""

    def colour(hue, saturation, value):
        bgr = cv2.cvtColor(np.uint8([[[hue % 180, saturation, value]]]), cv2.COLOR_HSV2BGR)
        return tuple(map(int, bgr[0, 0]))

    shirt_hue, players = rng.integers(180), []
    for k in range(2):
        hue = shirt_hue + k * rng.integers(50, 130)
        shirt = colour(hue, rng.integers(90, 250), rng.integers(170, 255))
        shorts = colour(rng.integers(180), rng.integers(0, 120), rng.choice([35, 60, 220]))
        skin = colour(rng.integers(8, 14), rng.integers(90, 150), rng.integers(110, 230))
        hair = colour(12, 120, rng.choice([15, 30, 60]))
        shoes = colour(rng.integers(180), 120, 230)
        players.append((shirt, shorts, skin, hair, shoes, colour(rng.integers(180), 60, 240)))
    return Look(tuple(players), tuple(rng.choice(NAMES, 2, replace=False)))


def drift(times: np.ndarray, rng: Generator) -> np.ndarray:
    """A slow pan; none in half of the shots. Returns the visible corner (x, y), int (T, 2)."""
    speed, start = rng.uniform(0.2, 0.7, 2), rng.uniform(0, 6, 2)
    wave = np.sin(times[:, None] * speed + start) * rng.choice([0, rng.uniform(0.4, 1)])
    return np.rint(SPARE * (1 + 0.5 * wave)).astype(int)


def through_lens(canvas: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The picture: the part of the canvas with top left corner (x, y). It is a view, not a copy."""
    x, y = corner // 2 * 2  # even, or the one-pixel net would flicker in the subsampled colours
    return canvas[y : y + HEIGHT, x : x + WIDTH]


def draw_ellipse(canvas, centre, axes, colour, tilt=0.0, thickness=-1) -> None:
    """Draws an ellipse: centre and half axes are (x, y) ints in eighths of a pixel.

    tilt is in degrees; thickness is in pixels, and -1 fills.
    """
    cv2.ellipse(canvas, centre, axes, tilt, 0, 360, colour, thickness, *SMOOTH)


def put_text(picture: np.ndarray, text: str, place: tuple, size: float, colour: tuple) -> None:
    """Writes text with capitals about 22 * size pixels high; place is its lower left corner."""
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)
