"""Small SYNTHETIC folders of labels in the formats of others."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

SERVE, CLEAR, HIDDEN = "發短球", "長球", "未知球種"
MATCH_COLUMNS = ["id", "video", "tournament", "year", "month", "set"]
STROKE_COLUMNS = [
    "rally",
    "ball_round",
    "time",
    "frame_num",
    "roundscore_A",
    "roundscore_B",
    "type",
]


@dataclass(frozen=True)
class Rally:
    """Strokes as (second, type), and the score after the rally."""

    strokes: tuple[tuple[float, str], ...]
    score: tuple[int, int]


def play(count: int = 21, start_sec: float = 100.0) -> list[Rally]:
    """A game to count:0. Rally k starts every 20 s; its strokes are at 0, 1 and 2 s."""
    starts = [start_sec + 20 * k for k in range(count)]
    return [
        Rally(((sec, SERVE), (sec + 1, CLEAR), (sec + 2, CLEAR)), (k, 0))
        for k, sec in enumerate(starts, 1)
    ]


def with_strokes(rally: Rally, *strokes: tuple[float, str]) -> Rally:
    return replace(rally, strokes=strokes)


def write_match(folder: Path, games: list[list[Rally]], fps: float = 30.0, bom: bool = False):
    """Writes set1.csv, set2.csv ... of a match of ShuttleSet."""
    folder.mkdir(parents=True)
    for number, game in enumerate(games, 1):
        rows = [
            [float(k), float(n), clock(sec), float(round(sec * fps)), *rally.score, kind]
            for k, rally in enumerate(game, 1)
            for n, (sec, kind) in enumerate(rally.strokes, 1)
        ]
        write_csv(folder / f"set{number}.csv", STROKE_COLUMNS, rows, bom)
    return folder


def write_csv(path: Path, columns: list[str], rows: list[list], bom: bool = False) -> None:
    with open(path, "w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def clock(sec: float) -> str:
    return f"{int(sec) // 3600:02d}:{int(sec) // 60 % 60:02d}:{int(sec) % 60:02d}"


def write_set(folder: Path, *matches: dict, addresses: bool = True, games=None) -> Path:
    """Writes a `set` folder: match.csv and the tables of each match (name, url, tournament, ...).

    With addresses it is ShuttleSet, without ShuttleSet22.
    """
    rows = []
    for number, match in enumerate(matches, 1):
        played = match.get("games") or games or [play(), play(start_sec=700.0)]
        write_match(folder / match["name"], played, match.get("fps", 30.0))
        place = (
            match.get("tournament", "Denmark Open 2018"),
            match.get("when", ("2018.0", "10.0")),
        )
        row = [match.get("id", number), match["name"], place[0], *place[1], len(played)]
        rows.append(row + [match.get("url", "")] * addresses)
    write_csv(folder / "match.csv", MATCH_COLUMNS + ["url"] * addresses, rows)
    return folder


def address(video_id: str) -> str:
    return f"https://www.youtube.com/watch?v={video_id}"


def point(begin, end, *hits, visibility="visible") -> dict:
    """A point of BadmintonDB; hits are the StrokeEnd of its strokes."""
    rally = [{"StrokeNum": k, "StrokeEnd": hit} for k, hit in enumerate(hits, 1)]
    info = {"PointBegin": begin, "PointEnd": end, "Rally": rally}
    return {"VideoInfo": {"Visibility": visibility}, "PointInfo": info}


def write_badminton_db(folder: Path, name: str, points: list[dict], video_id: str = "") -> Path:
    """Writes json/NAME-1080p.json, and README.md with the match's address if it has an id."""
    (folder / "json").mkdir(parents=True, exist_ok=True)
    match = {f"Point{k}": each for k, each in enumerate(points, 1)}
    (folder / "json" / f"{name}-1080p.json").write_text(json.dumps(match))
    if video_id:
        line = f"| [{name}](https://youtu.be/{video_id}) |\n"
        (folder / "README.md").write_text(f"| **Match** |\n| :---- |\n{line}")
    return folder
