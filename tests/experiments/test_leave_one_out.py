"""Leave-one-out and the learning curve over the matches of marked_data.py."""

import json
from dataclasses import replace

import numpy as np
import pytest

import detecting_rallies
from annotation.ground_truth import unknown_path
from annotation.match_marks import marks_path
from conftest import write_video
from detection.decoding import decode, to_marks
from detection.detector import load_detector, match_probs
from detection.fitting import fit_detector, ready_matches
from detection.marked_matches import marked_matches
from detection.segment_metrics import measure_match, summarise
from experiments import setting as setting_module
from experiments.leave_one_out import leave_one_out
from experiments.setting import Setting
from experiments.summary import mean_interval
from importing import imported
from marked_data import RALLIES, use_fake_backbone, write_marked
from model import RES_LSTM, save_model

MATCHES = {
    "final": "test",
    "heat": "train",
    "opener": "train",
    "quarter": "validation",
    "semi": "train",
}


@pytest.fixture(autouse=True)
def fake_backbone(monkeypatch):
    use_fake_backbone(monkeypatch)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("footage") / "m.mp4", "30", 900)


@pytest.fixture
def setting(tmp_path, footage, backbone):
    data = write_marked(tmp_path / "Data", footage, MATCHES)
    marks_path(data, "heat").write_text("start_sec,end_sec\n4,9\n14,21\n")
    unknown = unknown_path(marks_path(data, "heat"))
    unknown.parent.mkdir()
    unknown.write_text("start_sec,end_sec\n23,36000\n")
    model = tmp_path / "run" / "best_model.pth"
    model.parent.mkdir()
    save_model(model, RES_LSTM(backbone), "random (seed 0)", synthetic=True)
    return Setting(model, data)


def run(setting, *arguments):
    where = ["--model", setting.model, "--data", setting.data_dir]
    return detecting_rallies.main(["fit", *map(str, [*where, *arguments])])


def test_leave_one_out_equals_a_loop_by_hand_over_the_folds(setting):
    result = leave_one_out(setting, [0, 3])
    detector = replace(load_detector(setting.model), head=None)
    found = sum(marked_matches(setting.data_dir)[0].values(), [])
    ready = {match.name: match for match in ready_matches(found, detector, 4)}
    by_hand, order = {}, ["final", "heat", "opener", "quarter", "semi"]
    for k, name in enumerate(order):
        validation = order[(k + 1) % 5]
        train = [ready[other] for other in sorted({*order} - {name, validation})]
        for seed in (0, 3):
            # In the order of the matches: those of a split follow each other.
            train.sort(key=lambda match: [m.name for m in found].index(match.name))
            config = setting_module.HeadConfig(every=4)
            fit = fit_detector(detector, train, [ready[validation]], config, seed)
            times_sec, probs = match_probs(fit.detector, ready[name].features)
            rallies = to_marks(decode(times_sec, probs, fit.detector.decoding, 30.0))
            measured = measure_match(rallies, ready[name].truth, ready[name].end_sec)
            by_hand[name, seed] = measured
    first = {name: by_hand[name, 0] for name in order}
    for name in order:
        match = result["matches"][name]
        assert {key: match[key] for key in first[name]} == first[name]
        f1 = {str(seed): by_hand[name, seed]["iou"]["0.5"]["f1"] for seed in (0, 3)}
        assert match["f1_by_seed"] == f1
    summary = summarise(first)
    assert {key: result[key] for key in summary} == summary


def test_every_match_is_found_by_a_head_that_never_saw_it(setting, monkeypatch):
    """A match whose marks say the opposite of the others is measured against, not learned."""
    marks_path(setting.data_dir, "semi").write_text("start_sec,end_sec\n9.5,13.5\n21.5,24.5\n")
    result = leave_one_out(setting, [0])
    f1 = {name: match["iou"]["0.5"]["f1"] for name, match in result["matches"].items()}
    assert f1["semi"] == 0.0
    assert [fold["held_out"] for fold in result["folds"]] == [[name] for name in sorted(MATCHES)]
    for fold in result["folds"]:
        assert not {*fold["held_out"]} & {*fold["train"], *fold["validation"]}
        assert not {*fold["train"]} & {*fold["validation"]}


def test_the_command_prints_and_saves_everything_and_leaves_the_model_as_it_was(setting, capsys):
    before = setting.model.read_bytes()
    assert run(setting, "--leave-one-out", "--seeds", 0, 1) == 0
    told = capsys.readouterr().out
    assert "Matches of test take part, too" in told
    assert "5 marked matches: train 3, validation 1, test 1" in told
    assert "fit 10 of 10 (seed 1, trained on 3 matches): semi: F1@0.5" in told
    assert "mean over the matches, with its 95 % interval" in told and "worst match: " in told
    assert "not counted: 7 of 150 s, unknown in the ground truth" in told
    result = json.loads((setting.model.parent / "leave_one_out.json").read_text())
    assert result["by"] == "match" and result["synthetic"] and result["seeds"] == [0, 1]
    assert set(result["matches"]) == set(MATCHES)
    assert {"pooled", "mean", "worst", "mean_95", "mean_by_seed", "folds"} <= set(result)
    assert set(result["matches"]["semi"]) >= {"iou", "edges", "time", "rules", "shift", "decoding"}
    picture = setting.model.parent / "leave_one_out.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert setting.model.read_bytes() == before


def test_by_group_holds_out_the_matches_of_a_group_together(setting, capsys):
    groups = {"heat": "paris", "opener": "paris", "semi": "odense"}
    none = dict.fromkeys(imported.COLUMNS, "")
    records = [
        imported.Record(**none | {"name": n, "match": n, "group": g}) for n, g in groups.items()
    ]
    imported.write_imported(setting.data_dir, records)
    assert run(setting, "--leave-one-out", "--by", "group") == 0
    result = json.loads((setting.model.parent / "leave_one_out_by_group.json").read_text())
    held_out = [fold["held_out"] for fold in result["folds"]]
    assert sorted(held_out) == [["final"], ["heat", "opener"], ["quarter"], ["semi"]]
    assert result["units"]["opener"] == "paris" and result["units"]["final"] == "final"


def test_marks_that_are_shifted_against_their_film_are_said(setting, capsys):
    rows = "".join(f"{start + 2.4},{end + 2.4}\n" for start, end in RALLIES[:2])
    marks_path(setting.data_dir, "semi").write_text("start_sec,end_sec\n" + rows)
    assert run(setting, "--leave-one-out") == 0
    told = capsys.readouterr().out
    [warning] = [line for line in told.splitlines() if line.startswith("warning")]
    video = setting.data_dir / "semi.mp4"
    assert f"the marks of {video} seem 2." in warning and "too late for this film" in warning
    assert f"labeling.py --match={video} --shift -2." in warning


def test_fit_says_which_marks_are_shifted(setting, capsys):
    rows = "".join(f"{start - 2.4},{end - 2.4}\n" for start, end in RALLIES[1:])
    marks_path(setting.data_dir, "semi").write_text("start_sec,end_sec\n" + rows)
    assert run(setting) == 0
    assert "semi.mp4 seem 2." in capsys.readouterr().out


def test_windows_can_be_measured_too(setting):
    assert run(setting, "--leave-one-out", "--windows") == 0
    result = json.loads((setting.model.parent / "leave_one_out.json").read_text())
    assert result["head"] is False and result["matches"]["semi"]["epochs"] is None


def test_the_learning_curve_never_reads_the_marks_of_test(setting, capsys):
    marks_path(setting.data_dir, "final").write_text("start_sec,end_sec\nnonsense,1\n")
    assert run(setting, "--curve", 1, 2, 4) == 0
    told = capsys.readouterr().out
    assert "4 marked matches: train 3, validation 1" in told
    result = json.loads((setting.model.parent / "learning_curve.json").read_text())
    assert list(result["curve"]) == ["1", "2"] and result["seeds"] == [0, 1, 2]
    for each in result["curve"].values():
        values = list(each["f1_by_seed"].values())
        assert len(values) == 3 and each["low"] == min(values) and each["high"] == max(values)
        assert each["mean"] == pytest.approx(np.mean(values))
    assert (setting.model.parent / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--leave-one-out", "--curve", "1"], "only one of"),
        (["--seeds", "1"], "--seeds and --by go with"),
        (["--by", "group"], "--seeds and --by go with"),
        (["--leave-one-out", "--seeds", "1", "1"], "must differ"),
        (["--curve", "0"], "--curve"),
    ],
)
def test_wrong_use_ends_with_code_2(setting, wrong, message, capsys):
    with pytest.raises(SystemExit) as ended:
        run(setting, *wrong)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_the_interval_of_a_mean_holds_it_and_narrows_with_more_matches():
    rng = np.random.default_rng(0)
    few, many = (mean_interval(rng.uniform(0.5, 1, n).tolist()) for n in (5, 50))
    for each in (few, many):
        assert each["low"] < each["mean"] < each["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert mean_interval([0.5, None]) == {"mean": 0.5, "low": None, "high": None, "n": 1}
    assert mean_interval([])["mean"] is None
    covered = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(0.8, 0.1, 40).tolist()
        interval = mean_interval(values)
        covered += interval["low"] <= 0.8 <= interval["high"]
    assert 180 <= covered <= 199  # about 95 %
