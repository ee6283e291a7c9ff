"""Whole matches on a Ray cluster, one to a core (or GPU)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from detection.detector import Detector
from extraction.ray_cluster import choose_precision, map_on_actors
from output.pipeline import MatchRequest, detect_or_say


def detect_on_ray(
    matches: list[Path | str], detector: Detector, request: MatchRequest, precision: str
) -> Iterator[dict]:
    """pipeline.detect_or_say of each match, on the cluster that connect has joined, as they are
    done: rows of item (the match), lines (of text) and problem ("" if all went well)."""
    detector = replace(detector, precision=choose_precision(precision))
    request = replace(  # workers have working folders of their own
        request,
        out_dir=request.out_dir and request.out_dir.absolute(),
        data_dir=request.data_dir.absolute(),
    )
    names = [str(match.resolve()) if isinstance(match, Path) else match for match in matches]
    return map_on_actors(MatchDetector, (detector, request), names, 1)


class MatchDetector:
    """An actor of Ray Data: a match in, what was said of it and what went wrong out."""

    def __init__(self, detector: Detector, request: MatchRequest):
        self.detector, self.request = detector, request

    def __call__(self, batch: dict) -> dict:
        rows = {"item": [], "lines": [], "problem": []}
        for item in map(str, batch["item"]):
            lines: list[str] = []
            problem = detect_or_say(item, self.detector, self.request, lines.append)
            for name, value in (("item", item), ("lines", "\n".join(lines)), ("problem", problem)):
                rows[name].append(value)
        return rows
