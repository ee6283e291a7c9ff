"""What a synthetic broadcast shows beside the court: close-ups, crowd, breaks, and its graphics.

Every `*_frames` function yields one picture, uint8 (360, 640, 3) BGR, for each of its times (T,),
in seconds; the graphics are drawn into a picture in place.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.random import Generator

from sample.look import (
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    HEIGHT,
    WIDTH,
    Look,
    draw_ellipse,
    drift,
    put_text,
    through_lens,
)

BANNERS = ("GAME POINT", "LONGEST RALLY 41", "SMASH 382 KM/H", "CHALLENGE LEFT 2", "SERVICE OVER")


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
    """Draws a lower third, as broadcasts show between rallies, above the score."""
    cv2.rectangle(picture, (110, 236), (530, 298), (235, 235, 235), -1)
    cv2.rectangle(picture, (110, 236), (530, 244), look.boards[2], -1)
    put_text(picture, text, (130, 280), 0.8, (40, 40, 40))


def wipe(picture: np.ndarray, look: Look, cover: float) -> None:
    """Draws a slanted logo band into the picture; cover runs from 0 (none) to 1 (all of it)."""
    left = WIDTH - int(cover * (WIDTH + 160))
    corners = [(left + 160, 0), (WIDTH + 400, 0), (WIDTH + 400, HEIGHT), (left, HEIGHT)]
    cv2.fillConvexPoly(picture, np.array(corners), look.boards[2], cv2.LINE_AA)
    logo = (left + WIDTH // 2 + 160, HEIGHT // 2)
    cv2.circle(picture, logo, 70, (240, 240, 240), -1)
    cv2.circle(picture, logo, 48, look.boards[0], 14)
