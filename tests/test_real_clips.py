"""Reading, joining and measuring real clips, on small tables and made-up features.

With RALLY_REAL_DATA set to the folder above badminton/, the tables of the real clips are read too.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from annotation.ground_truth import Truth
from conftest import numbered_frame, write_video
from detection.fitting import ReadyMatch
from detection.match_features import steps_in_memory
from files import UserError

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import real
import real_clips
from real_clips import (
    STEP_SEC,
    PreparedClip,
    Still,
    encode_stills,
    label_broadcast,
    label_main_camera,
    prepare_clip,
    read_clips,
    read_stills,
)
from real_matches import StillSplit, back_and_forth, join_clips, split_stills, standing_stretches

PLAY, STANDING, STILL = 1.0, 2.0, 3.0  # what the made-up features say of a step, 0: a close-up


@pytest.fixture
def folder(tmp_path):
    """A folder of two clips of a broadcast and one of the main camera; their files are empty."""
    (tmp_path / "broadcast.csv").write_text(
        "video,match,first_frame,duration_sec,strokes\n"
        "india_1.mp4,india,1,9.00,1.50-6.25\nindia_2.mp4,india,2,9.00,\n"
    )
    (tmp_path / "main_camera.csv").write_text(
        "video,venue,duration_sec,rallies\ngreen_1.mp4,green,8.00,1.00-6.00\n"
    )
    (tmp_path / "stills.csv").write_text("picture,match,view\na_1.jpg,a,court\na_2.jpg,a,other\n")
    for name in ("broadcast/india_1.mp4", "broadcast/india_2.mp4", "main_camera/green_1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "stills").mkdir()
    for name in ("a_1.jpg", "a_2.jpg"):
        (tmp_path / "stills" / name).touch()
    return tmp_path


def test_a_broadcast_rally_ends_a_second_after_its_last_stroke():
    truth, standing = label_broadcast("1.50-6.25", 20.0)
    assert truth == Truth([(1.5, 7.25)])
    assert standing == [(7.25, pytest.approx(8.55))]


def test_a_rally_and_the_main_camera_after_it_end_with_the_clip():
    assert label_broadcast("1.50-6.25", 7.0) == (Truth([(1.5, 7.0)]), [])
    assert label_broadcast("1.50-6.25", 7.75)[1] == [(7.25, 7.75)]


def test_five_seconds_before_a_start_that_is_not_known_are_unknown():
    assert label_broadcast("6.00-9.00?", 20.0)[0] == Truth([(6.0, 10.0)], [(1.0, 6.0)])
    assert label_broadcast("2.00-9.00?", 20.0)[0].unknown == [(0.0, 2.0)]
    assert label_broadcast("1.00-3.00 6.00-9.00?", 20.0)[0].unknown == [(4.0, 6.0)]


def test_nothing_of_an_unknown_stretch_counts_as_standing():
    _, standing = label_broadcast("1.00-3.00 6.00-9.00?", 20.0)
    assert standing == [(10.0, pytest.approx(11.3))]


def test_nobody_plays_outside_the_rallies_of_the_main_camera():
    assert label_main_camera("1.00-6.00", 8.0) == (Truth([(1.0, 6.0)]), [(0.0, 1.0), (6.0, 8.0)])


def test_clips_without_a_stroke_are_left_out(folder):
    clips = read_clips(folder)
    assert [(clip.path.name, clip.group) for clip in clips] == [
        ("india_1.mp4", "india"),
        ("green_1.mp4", "green"),
    ]
    assert clips[0].truth == Truth([(1.5, 7.25)]) and clips[1].truth == Truth([(1.0, 6.0)])


def test_all_problems_of_the_clips_are_told_at_once(folder):
    table = folder / "broadcast.csv"
    table.write_text(table.read_text() + "gone.mp4,india,3,9.00,1.00-2.00\n")
    (folder / "main_camera.csv").write_text(
        "video,venue,duration_sec,rallies\ngreen_1.mp4,green,8.00,1.00 to 6.00\n"
    )
    with pytest.raises(UserError) as told:
        read_clips(folder)
    assert "gone.mp4 is missing" in str(told.value) and "'1.00 to 6.00'" in str(told.value)


def test_all_problems_of_the_stills_are_told_at_once(folder):
    assert [still.is_court for still in read_stills(folder)] == [True, False]
    table = folder / "stills.csv"
    table.write_text(table.read_text() + "a_3.jpg,a,court\na_2.jpg,a,crowd\n")
    with pytest.raises(UserError) as told:
        read_stills(folder)
    assert "a_3.jpg is missing" in str(told.value) and "'crowd'" in str(told.value)


def test_a_still_has_the_features_of_the_same_frame_in_a_clip(tmp_path, backbone, monkeypatch):
    path = write_video(tmp_path / "clip.mp4", "30", 8, "-c:v", "ffv1", "-pix_fmt", "gray")
    cv2.imwrite(str(tmp_path / "still.png"), numbered_frame(4))
    clip = real_clips.Clip(path, "india", Truth([]), [])
    prepared = prepare_clip(clip, backbone, tmp_path / "work")
    still = encode_stills([Still(tmp_path / "still.png", "a", True)], backbone)
    assert torch.allclose(prepared.features[1], still[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(prepared.features[0], still[0], rtol=1e-4, atol=1e-5)


def make_clip(number: int, steps: int = 75) -> PreparedClip:
    """A clip of 10 s with a rally from 2 to 6 s, then 2 s of standing; the rest is a close-up."""
    seconds = torch.arange(steps) * STEP_SEC
    kind = torch.zeros(steps)
    kind[(seconds >= 2) & (seconds < 6)] = PLAY
    kind[(seconds >= 6) & (seconds < 8)] = STANDING
    view = 10.0 * (-1) ** torch.arange(steps)  # of the main camera: 10 to either side of the mean
    view[kind == 0] = 100.0
    return PreparedClip(
        torch.stack([kind, torch.full((steps,), float(number)), view], dim=1),
        Truth([(2.0, 6.0)], [(0.0, 2.0)]),
        [(6.0, 8.0)],
    )


def make_stills(count: int = 3) -> torch.Tensor:
    return torch.tensor([[STILL, float(k), 100.0] for k in range(count)])


def pieces_of(features: torch.Tensor, truth: Truth) -> tuple[list, list]:
    """The kinds of the steps of each pause, and the numbers of the clips, in order of time."""
    starts = [round((start - 2.0) / STEP_SEC) for start, _ in truth.rallies]
    pauses = [
        features[first + 75 : following]
        for first, following in zip(starts, starts[1:], strict=False)
    ]
    return pauses, [int(features[first, 1]) for first in starts]


def test_each_rally_of_a_joined_match_lies_where_its_steps_are():
    clips = [make_clip(number) for number in range(6)]
    features, truth = join_clips(clips, make_stills(), seed=0)
    seconds = torch.arange(len(features)) * STEP_SEC
    inside = torch.zeros(len(features), dtype=torch.bool)
    for start, end in truth.rallies:
        inside |= (seconds >= start - 0.001) & (seconds < end - 0.001)
    assert torch.equal(inside, features[:, 0] == PLAY)
    assert len(truth.rallies) == len(truth.unknown) == 6
    assert [end for _, end in truth.unknown] == [start for start, _ in truth.rallies]


def test_every_clip_is_joined_once_in_an_order_of_the_seed():
    clips = [make_clip(number) for number in range(6)]
    orders = [pieces_of(*join_clips(clips, make_stills(), seed))[1] for seed in (0, 0, 1)]
    assert sorted(orders[0]) == list(range(6))
    assert orders[0] == orders[1] != orders[2]


def test_pauses_are_a_still_and_standing_in_turn_of_3_to_8_s():
    clips = [make_clip(number) for number in range(9)]
    pauses, _ = pieces_of(*join_clips(clips, make_stills(), seed=0))
    kinds = [set(pause[:, 0].tolist()) for pause in pauses]
    assert kinds == [{STILL}, {STANDING}] * 4
    assert all(len(set(pause[:, 1].tolist())) == 1 for pause in pauses)  # one still, one stretch
    lengths = [len(pause) * STEP_SEC for pause in pauses]
    assert 3 - STEP_SEC < min(lengths) < max(lengths) < 8 + STEP_SEC and len(set(lengths)) > 3


def test_a_still_comes_again_only_after_all_others():
    clips = [make_clip(number) for number in range(7)]
    pauses, _ = pieces_of(*join_clips(clips, make_stills(3), seed=0))
    assert sorted(int(pause[0, 1]) for pause in pauses[::2]) == [0, 1, 2]


def test_clips_without_any_pause_to_show_are_refused():
    with pytest.raises(UserError, match="no still"):
        join_clips([make_clip(0)], make_stills(0), seed=0)
    short = PreparedClip(make_clip(0).features, Truth([(2.0, 6.0)]), [(6.0, 6.3)])
    with pytest.raises(UserError, match="no stretch of main camera"):
        join_clips([short], make_stills(), seed=0)


def test_a_stretch_ends_where_the_picture_leaves_the_main_camera():
    clip = make_clip(0)
    (stretch,) = standing_stretches(clip)
    assert stretch[:, 0].tolist() == [STANDING] * 15  # 2 s
    clip.features[50:, 2] = 100.0  # a close-up from step 50 on, which is 6.67 s
    (stretch,) = standing_stretches(clip)
    assert torch.equal(stretch, clip.features[45:50])
    clip.features[48:, 2] = 100.0
    assert standing_stretches(clip) == []  # under half a second


def test_a_stretch_runs_back_and_forth():
    stretch = torch.arange(4.0)[:, None]
    assert back_and_forth(stretch, 9)[:, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_no_match_lends_its_stills_to_two_purposes():
    stills = [
        Still(Path(f"m{k:02d}_{view}.jpg"), f"m{k:02d}", view == "court")
        for k in range(20)
        for view in ("court", "other")
    ]
    groups = ["india", "denmark", "green"]
    split = split_stills(stills, groups)
    parts = [split.train, split.validation, *(split.pauses[group] for group in groups)]
    matches = [{still.match for still in part} for part in parts]
    assert all(matches) and sum(map(len, matches)) == len(set.union(*matches)) == 20
    assert not any(still.is_court for group in groups for still in split.pauses[group])
    for part in (split.train, split.validation):
        assert {still.is_court for still in part} == {True, False}
    with pytest.raises(UserError, match="too few"):
        split_stills(stills[:8], groups)


def made_match(name: str, rallies: list, unknown: list, steps: int = 150) -> ReadyMatch:
    """A match of 20 s without features."""
    features = steps_in_memory(torch.zeros(steps, 512))
    return ReadyMatch(name, features, Truth(rallies, unknown), steps * STEP_SEC)


def test_unknown_stretches_and_steps_without_a_probability_do_not_count():
    match = made_match("india", [(4.0, 12.0)], [(2.0, 4.0)])
    times_sec = np.arange(4, 147) * STEP_SEC  # windows begin and end inside the match
    right = ((times_sec >= 4.0) & (times_sec < 12.0)).astype(np.float32)
    doubtful = (times_sec >= 2.0) & (times_sec < 4.0)
    probs = np.where(doubtful, 1.0, right)
    probs[-5:] = np.nan
    perfect = {"auc": 1.0, "balanced_accuracy": 1.0, "accuracy": 1.0}
    assert real.score_steps(times_sec, probs, match) == perfect
    probs[times_sec >= 12.0] = 1.0
    assert real.score_steps(times_sec, probs, match)["balanced_accuracy"] < 1.0


def test_the_majority_is_that_of_the_training_groups():
    match = made_match("india", [(4.0, 12.0)], [])  # play for 8 of 20 s
    resting, playing = made_match("a", [(1.0, 3.0)], []), made_match("b", [(1.0, 19.0)], [])
    always_rest = real.score_majority([resting], match)
    assert always_rest == {"auc": 0.5, "balanced_accuracy": 0.5, "accuracy": 0.6, "f1_50": 0.0}
    always_play = real.score_majority([playing], match)
    assert always_play == always_rest | {"accuracy": 0.4}
    unsure = made_match("c", [(1.0, 3.0)], [(3.0, 20.0)])  # 2 of 3 known seconds are play
    assert real.score_majority([unsure], match) == always_play


def test_a_sequence_of_a_view_is_one_still_repeated(tmp_path, backbone):
    stills = []
    for k in range(4):
        stills.append(Still(tmp_path / f"a_{k}.png", "a", k % 2 == 0))
        cv2.imwrite(str(stills[-1].path), numbered_frame(37 * k))
    split = StillSplit(stills[:2], stills[2:], {})
    train, validation = real.load_views(split, backbone, tmp_path / "views")
    assert train.labels.tolist() == validation.labels.tolist() == [1.0, 0.0]
    pictures = encode_stills(stills, backbone)
    for k, (sequence, _) in enumerate([*train, *validation][:4]):
        assert torch.allclose(sequence, pictures[k].expand(real.WINDOW_STEPS, 512), atol=1e-6)


def test_every_group_is_measured_by_fits_that_never_saw_it(monkeypatch):
    matches = [made_match(name, [(4.0, 12.0)], []) for name in ("india", "green", "pale")]
    jobs = []

    def run(detector, matches, config, job):
        jobs.append((detector, config is None, job))
        (held_out,) = job.fold.held_out
        times_sec = np.arange(150) * STEP_SEC
        probs = ((times_sec >= 4.0) & (times_sec < 12.0)).astype(np.float32)
        measured = {"iou": {"0.5": {"f1": job.seed / 10}}}
        return [SimpleNamespace(times_sec=times_sec, probs=probs, measured=measured)]

    monkeypatch.setattr(real, "run_job", run)
    rows = real.measure(matches, {1: "window model 1", 2: "window model 2"})
    assert rows.groupby("method").size().to_dict() == {"head": 6, "main camera": 6, "majority": 3}
    heads = rows[rows["method"] == "head"]
    assert heads["auc"].tolist() == [1.0] * 6 and heads["f1_50"].tolist() == [0.1, 0.2] * 3
    assert {(detector[-1], job.seed) for detector, _, job in jobs} == {("1", 1), ("2", 2)}
    for _, _, job in jobs:
        parts = (*job.fold.held_out, *job.fold.train, *job.fold.validation)
        assert sorted(parts) == [0, 1, 2]


def test_the_last_line_is_one_object_with_the_figures_of_each_group(tmp_path, monkeypatch, capsys):
    """On three SYNTHETIC venues of two clips. The fits are replaced by some that find nothing."""
    data, clips, stills = tmp_path / "data", [], []
    for part in ("main_camera", "broadcast", "stills"):
        (data / part).mkdir(parents=True)
    for venue in ("green", "hall", "pale"):
        for k in range(2):
            write_video(data / "main_camera" / f"{venue}_{k}.mp4", "30", 90)
            clips.append(f"{venue}_{k}.mp4,{venue},3.00,1.00-2.00")
    for k in range(12):
        cv2.imwrite(str(data / "stills" / f"{k}.png"), numbered_frame(k))
        stills.append(f"{k}.png,m{k // 2},{'court' if k % 2 else 'other'}")
    for table, rows in (
        ("main_camera", ["video,venue,duration_sec,rallies", *clips]),
        ("broadcast", ["video,match,duration_sec,strokes"]),
        ("stills", ["picture,match,view", *stills]),
    ):
        (data / f"{table}.csv").write_text("\n".join([*rows, ""]))

    def find_nothing(detector, matches, config, job):
        (held_out,) = job.fold.held_out
        steps = matches[held_out].features.steps
        measured = {"iou": {"0.5": {"f1": 0.0}}}
        times_sec = np.arange(steps) * STEP_SEC
        return [SimpleNamespace(times_sec=times_sec, probs=np.zeros(steps), measured=measured)]

    monkeypatch.setattr(real, "run_job", find_nothing)
    monkeypatch.setattr(real, "TrainConfig", partial(real.TrainConfig, max_epochs=1))
    options = ["--data", str(data), "--weights", "random", "--seeds", "3", "4"]
    monkeypatch.setattr(sys, "argv", ["real.py", *options])
    assert real.main() == 0
    told = capsys.readouterr().out.splitlines()
    figures = json.loads(told[-1])
    assert figures["weights"] == "random (seed 0)" and figures["seeds"] == [3, 4]
    assert {name: each["rallies"] for name, each in figures["groups"].items()} == {
        "green": 2,
        "hall": 2,
        "pale": 2,
    }
    assert list(figures["methods"]) == ["majority", "head", "main camera"]
    for method in figures["methods"].values():
        assert list(method["groups"]) == ["green", "hall", "pale"]
        assert method["mean"]["balanced_accuracy"] == 0.5 and method["mean"]["f1_50"] == 0.0
    assert set(figures["methods"]["head"]["mean_by_seed"]) == {"3", "4"}
    assert not list(data.rglob("*.safetensors"))


@pytest.mark.skipif("RALLY_REAL_DATA" not in os.environ, reason="RALLY_REAL_DATA is not set")
def test_the_real_clips_are_five_groups_and_all_have_stills_for_their_pauses():
    data = Path(os.environ["RALLY_REAL_DATA"]) / "badminton"
    clips = read_clips(data)
    groups = {clip.group for clip in clips}
    assert groups == {"india", "denmark", "allengland", "green", "pale"}
    assert (
        all(clip.truth.rallies for clip in clips)
        and np.mean([bool(c.standing) for c in clips]) > 0.4
    )
    split = split_stills(read_stills(data), sorted(groups))
    assert min(map(len, split.pauses.values())) >= 5
