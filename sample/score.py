"""The score of a synthetic match and the score boards that show it.

Each rally is a point. A game ends at 21 with a lead of two, or at 30. A match ends when a side has
won two games; then another match begins. Side 0 plays near the main camera and is the upper row of
the board.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from sample.look import HEIGHT, WIDTH, Look, put_text


class Board(NamedTuple):
    """What a score board shows."""

    games: tuple = ()  # (upper row, lower row) of each finished game of this match
    score: tuple = (0, 0)
    server: int = 0  # the side that won the last point


class Design(NamedTuple):
    """The design of a score board. Colours are BGR."""

    right: bool  # which side of the picture
    bottom: bool
    size: float  # letter size, for put_text
    plate: tuple  # background colour
    text: tuple
    accent: tuple  # background colour of the current game's points
    games: bool = False  # show finished games
    flags: bool = False
    seeds: bool = False
    serving: bool = False  # mark the server with a disc


DESIGNS = [
    Design(False, False, 0.5, (70, 50, 40), (235, 235, 235), (40, 90, 40), True, True),
    Design(True, True, 0.6, (70, 100, 60), (240, 240, 240), (50, 70, 40), serving=True),
    Design(True, False, 0.5, (40, 40, 40), (90, 210, 230), (80, 60, 60), True, serving=True),
    Design(False, True, 0.55, (60, 70, 110), (240, 240, 240), (50, 50, 80), seeds=True),
]


def win_point(board: Board, side: int) -> Board:
    """The board after this side has won a point; next_serve starts the next game, if needed."""
    return board._replace(
        score=tuple(n + (row == side) for row, n in enumerate(board.score)), server=side
    )


def game_is_over(score: tuple[int, int]) -> bool:
    """Whether this score ends a game."""
    return max(score) == 30 or max(score) >= 21 and abs(score[0] - score[1]) >= 2


def next_serve(board: Board) -> Board:
    """The board at the next serve: at 0-0 if the last point ended a game, else unchanged."""
    if not game_is_over(board.score):
        return board
    games = (*board.games, board.score)
    won = [sum(game[row] > game[1 - row] for game in games) for row in (0, 1)]
    return Board(() if max(won) == 2 else games, server=board.server)


def draw_start(rng: Generator) -> Board:
    """The board at the start of a match or, more often, somewhere in the middle of it."""
    board = Board(server=int(rng.integers(2)))
    for _ in range(rng.choice([0, rng.integers(60)], p=[0.3, 0.7])):
        board = next_serve(win_point(board, int(rng.integers(2))))
    return board


def draw_panel(design: Design, look: Look, board: Board) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The drawn board, uint8 (H, W, 3) BGR, and its place in the picture, (rows, columns)."""

    def width(text: str) -> int:
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, design.size, 1)[0][0]

    names = [name + f" [{k + 2}]" * design.seeds for k, name in enumerate(look.names)]
    row, cell, left = round(42 * design.size), width("00") + 18, 34 if design.flags else 12
    mark = left + max(map(width, names)) + 12
    columns = [*board.games * design.games, board.score]
    first = mark + 12 * design.serving
    panel = np.full((2 * row + 2, first + cell * len(columns), 3), design.plate, np.uint8)
    panel[:, -cell:] = design.accent
    panel[row : row + 2] = design.accent
    for side, name in enumerate(names):
        top, base = side * (row + 2), side * (row + 2) + round(31 * design.size)
        panel[top : top + row, :5] = look.players[side][0]
        if design.flags:
            for stripe, colour in enumerate(look.players[side][:3]):
                panel[top + 5 : top + row - 5, 10 + 6 * stripe : 16 + 6 * stripe] = colour
        put_text(panel, name, (left, base), design.size, design.text)
        if design.serving and side == board.server:
            cv2.circle(panel, (mark, top + row // 2), 4, design.text, -1, cv2.LINE_AA)
        for k, score in enumerate(columns):
            right = first + cell * (k + 1) - 9
            place = (right - width(str(score[side])), base)
            put_text(panel, str(score[side]), place, design.size, design.text)
    y = HEIGHT - 16 - len(panel) if design.bottom else 16
    x = WIDTH - 20 - panel.shape[1] if design.right else 20
    return panel, np.s_[y : y + panel.shape[0], x : x + panel.shape[1]]
