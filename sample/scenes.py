"""The scenes of a synthetic broadcast that do not show the court: close-ups, crowd and breaks.

Every `*_frames` function yields one picture, uint8 (360, 640, 3) BGR, for each of its times (T,)
in seconds.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.random import Generator

from sample.look import (
    BOARDS,
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    HEIGHT,
    SURROUND,
    WIDTH,
    Look,
    draw_ellipse,
    drift,
    put_text,
    through_lens,
)


def closeup_frames(look: Look, rng: Generator, times: np.ndarray) -> Iterator[np.ndarray]:
    """The head and torso of one player, who breathes and turns a little."""
    blobs = rng.integers(10, 80, (9, 16, 3))
    blobs[rng.integers(4, 9) :] = BOARDS[rng.integers(3)]
    blobs[rng.integers(6, 10) :] = SURROUND
    size = (CANVAS_WIDTH, CANVAS_HEIGHT)
    background = cv2.resize(blobs.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    shirt, _, skin, hair, _, _ = look.players[rng.integers(2)]
    size, centre = rng.uniform(48, 80), rng.uniform(260, 440)
    sway = np.sin(times[:, None] * rng.uniform(0.8, 3.5, 3) + rng.uniform(0, 6, 3))
    for (a, b, c), corner in zip(sway, drift(times, rng), strict=True):
        ovals = [  # x and y of the centre, half width, half height (in units of size), colour
            (0, 3.6, 2.15, 2.3, shirt),
            (0, 1.2, 0.42, 0.75, [0.75 * c for c in skin]),
            (0.1 * c, -0.2, 0.83, 1.05, hair),
            (0.15 * c, 0.1, 0.72, 0.95, skin),
            (-0.28 + 0.22 * c, -0.05, 0.12, 0.08, hair),
            (0.28 + 0.22 * c, -0.05, 0.12, 0.08, hair),
            (0.2 * c, 0.6, 0.22, 0.06, (70, 70, 130)),
        ]
        canvas = background.copy()
        for x, y, wide, high, colour in ovals:
            place = (int((centre + 14 * a + x * size) * 8), int((170 + 5 * b + y * size) * 8))
            draw_ellipse(canvas, place, (int(wide * size * 8), int(high * size * 8)), colour)
        yield through_lens(canvas, corner)


def crowd_frames(look: Look, rng: Generator, times: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of spectators who bob up and down."""
    rows, columns = int(rng.integers(4, 8)), int(rng.integers(8, 14))
    high, wide = CANVAS_HEIGHT / rows, CANVAS_WIDTH / columns
    head = int(0.27 * min(high, wide))
    clothes = rng.integers(20, 200, (rows, columns, 3)).tolist()
    hair = rng.integers(10, 70, (rows, columns))
    phases, tempo = rng.uniform(0, 6, (rows, columns)), rng.uniform(2, 7, (rows, columns))
    shoulders = np.array([(-1.1, 1), (1.1, 1), (1.8, 5), (-1.8, 5)]) * head
    for time, corner in zip(times, drift(times, rng), strict=True):
        canvas = np.full((CANVAS_HEIGHT, CANVAS_WIDTH, 3), 25, np.uint8)
        bob = np.sin(phases + tempo * time)
        for row, column in np.ndindex(rows, columns):
            x = int((column + 0.5 * (row % 2)) * wide)
            y = int((row + 0.2) * high + 0.1 * head * bob[row, column])
            body = ((x, y) + shoulders).astype(int)
            cv2.fillConvexPoly(canvas, body, clothes[row][column])
            cv2.circle(canvas, (x, y), head, [int(hair[row, column])] * 3, -1)
            skin = look.players[(row * column) % 2][2]
            cv2.circle(canvas, (x, y + head // 3), int(0.8 * head), skin, -1)
        yield through_lens(canvas, corner)


def break_frames(look: Look, rng: Generator, times: np.ndarray, score) -> Iterator[np.ndarray]:
    """A break screen with names and score (2,); a stripe moves across the background."""
    background = np.full((HEIGHT, WIDTH, 3), BOARDS[rng.integers(3)], np.uint8)
    title, top = rng.choice(["INTERVAL", "GAME BREAK", "MATCH STATISTICS"]), rng.integers(90, 130)
    for time in times:
        picture = background.copy()
        x = int(time * 130 % (WIDTH + 320)) - 160
        cv2.line(picture, (x, 0), (x - 120, HEIGHT), SURROUND, 30)
        cv2.rectangle(picture, (90, top - 50), (550, top + 150), (45, 35, 30), -1)
        put_text(picture, title, (110, top - 15), 0.8, (255, 255, 255))
        for row, y in ((0, top + 50), (1, top + 110)):
            put_text(picture, look.names[row], (120, y), 0.7, (240, 240, 240))
            put_text(picture, str(score[row]), (480, y), 0.8, (0, 220, 255))
        yield picture
