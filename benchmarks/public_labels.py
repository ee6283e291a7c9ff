"""Measure detection on drawn matches with the times of real ones, published by ShuttleSet.

    python benchmarks/public_labels.py --annotations CoachAI-Projects/ShuttleSet/set [--work DIR]

It cuts the first minutes of play out of the tables of three matches, from 20 s before the first
stroke, draws SYNTHETIC films to their times, imports the cut tables (labeling.py --import), and
holds out one match in turn. Of each group it takes the match with the most rallies, of those in
which at least a tenth of the time is unknown. There the films show play of which the marks know
nothing: where the tables say that something was played, strokes of unknown type included. With
--work, films and features are kept for the next run. It takes half an hour on 2 busy cores.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cut_matches import CutMatch, choose

from annotation.match_marks import read_marks
from cli import run_command
from experiments.leave_one_out import leave_one_out, print_leave_one_out
from experiments.setting import Setting
from experiments.summary import mean_of
from extraction.backbones import build_backbone
from files import UserError
from importing.shuttleset import find_sets
from labeling import main as labeling
from model import RES_LSTM, save_model
from sample.data_set import draw_matches

FIRST_SEED = 401  # of the films


def draw_films(cuts: list[CutMatch], folder: Path) -> None:
    """Draws the films <name>.mp4, unless they are there and show the same."""
    jobs = []
    for seed, cut in enumerate(cuts, FIRST_SEED):
        film = folder / f"{cut.name}.mp4"
        if film.exists() and read_marks(film.with_suffix(".csv")) != cut.plays:
            film.unlink()
        jobs.append((film, seed, cut.duration_sec, cut.fps, cut.plays))
    draw_matches(jobs)


def figures_of(cuts: list[CutMatch], result: dict) -> tuple[pd.DataFrame, dict]:
    """A row for each match, and the figures of the JSON line, which are means over the seeds."""
    rows = {}
    for cut in cuts:
        found = result["matches"][cut.name]
        rows[cut.match.reference] = {
            "group": cut.match.group,
            "fps": f"{cut.fps:g}",
            "rallies": len(cut.truth.rallies),
            "unknown s": round(cut.unknown_sec),
            "plays drawn": len(cut.plays),
            "predicted": found["predicted"],
            "F1@0.5": mean_of(list(found["f1_by_seed"].values())),
        }
    f1 = [value for each in result["matches"].values() for value in each["f1_by_seed"].values()]
    mean = result["mean_95"]
    return pd.DataFrame(rows).T, {
        "f1_50": mean["f1_0.5"]["mean"],
        "worst_f1_50": min(f1),  # of all matches and seeds
        # Per match, then averaged: an excess in one must not cancel a lack in another.
        "count_error": mean["count_error"]["mean"],
        "matches": len(cuts),
        "rallies": sum(len(cut.truth.rallies) for cut in cuts),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure detection on drawn matches that have the times of real ones."
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, metavar="FOLDER", help="ShuttleSet's set folder")
    add("--work", type=Path, metavar="DIR", help="keep the films and features in this folder")
    add("--matches", type=int, default=3, metavar="N", help="3 or more (default: 3)")
    add("--minutes", type=float, default=15, metavar="MIN", help="of each match (default: 15)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add(
        "--weights", default="random", help="imagenet, random, or a resnet18 file (default: random)"
    )
    options = parser.parse_args()
    set_dirs = find_sets(options.annotations)
    if len(set_dirs) != 1:
        raise UserError(f"{options.annotations} must hold one match.csv with tables of matches")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        cuts = choose(set_dirs[0], scratch / "set", options.matches, options.minutes * 60)
        films = (options.work or scratch / "films").absolute() / f"{options.minutes:g}_min"
        draw_films(cuts, films)
        data = scratch / "Data"
        data.mkdir()
        (data / "videos").symlink_to(films, target_is_directory=True)
        labeling(["--import", str(scratch / "set"), "--data", str(data)])
        backbone, weights_name = build_backbone(options.weights)
        model = scratch / "model.pth"
        save_model(model, RES_LSTM(backbone), weights_name, synthetic=True)
        result = leave_one_out(Setting(model, data), options.seeds)
        print_leave_one_out(result)
    table, figures = figures_of(cuts, result)
    print(f"\nSYNTHETIC films with real times, backbone weights {weights_name}")
    print(table.to_string(float_format="{:.3f}".format))
    figures |= {"minutes": options.minutes, "seeds": options.seeds, "weights": weights_name}
    print(json.dumps(figures | {"threads": torch.get_num_threads()}))
    return 0


if __name__ == "__main__":
    run_command(main)
