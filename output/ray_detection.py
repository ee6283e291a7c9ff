"""Detects whole matches on a Ray cluster, one match per core (or GPU)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from detection.detector import Detector
from extraction.ray_cluster import choose_precision, map_on_actors
from output.pipeline import MatchRequest, detect_or_say


def detect_on_ray(
    matches: list[Path | str], detector: Detector, request: MatchRequest, precision: str
) -> Iterator[dict]:
    """Runs pipeline.detect_or_say for each match on the cluster that connect has joined.

    Yields a row for each match when it is done: item (the match), lines (what was said, as one
    text) and problem (the error, "" if there was none).
    """
    detector = replace(detector, precision=choose_precision(precision))
    request = replace(  # absolute paths: workers have other working folders
        request,
        out_dir=request.out_dir and request.out_dir.absolute(),
        data_dir=request.data_dir.absolute(),
    )
    names = [str(match.resolve()) if isinstance(match, Path) else match for match in matches]
    return map_on_actors(MatchDetector, (detector, request), names, 1)


class MatchDetector:
    """A Ray Data actor: takes matches, returns the messages about each and its error."""

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
