"""detecting_rallies.py on whole matches: its files, its messages, its exit codes.

The matches are those of marked_data.py.
"""

import json
import re
import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch

import detecting_rallies
from annotation.ground_truth import Truth
from annotation.match_marks import read_marks
from conftest import number_in, write_damaged_video, write_video
from detection import match_features
from detection.decoding import Decoding
from detection.detector import load_detector
from detection.marked_matches import has_marked_matches, present_matches
from detection.match_features import load_steps
from detection.records import default_dir
from files import SPLITS, UserError
from marked_data import RALLIES, stand_in, use_fake_backbone, write_marked
from media.video import open_video, read_sequence_at
from model import RES_LSTM, ModelConfig, load_model, save_model, update_checkpoint
from output import results
from output.proposals import detect_proposals
from output.results import frame_at, timecode


@pytest.fixture(autouse=True)
def fake_backbone(monkeypatch):
    use_fake_backbone(monkeypatch)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("footage") / "m.mp4", "30", 900)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, footage, backbone):
    """A checkpoint that was fitted on the marked matches of a data folder, and that folder."""
    folder = tmp_path_factory.mktemp("fitted")
    data = write_marked(folder / "Data", footage, {split: split for split in SPLITS})
    model = folder / "model.pth"
    save_model(model, RES_LSTM(backbone), "random (seed 0)", synthetic=True)
    with pytest.MonkeyPatch.context() as patch:
        use_fake_backbone(patch)
        code = detecting_rallies.main(["fit", "--model", str(model), "--data", str(data)])
    assert code == 0
    return model, data


@pytest.fixture
def match(tmp_path, footage):
    return shutil.copy(footage, tmp_path / "final.mp4")


def detect(*arguments) -> int:
    return detecting_rallies.main([str(each) for each in arguments])


def near(marks, truth=RALLIES, sec=0.3):
    return len(marks) == len(truth) and np.abs(np.array(marks) - truth).max() < sec


def test_a_match_becomes_its_table_record_picture_and_page(fitted, match, capsys):
    assert detect(match, "--model", fitted[0]) == 0
    folder = default_dir(match)
    assert near(read_marks(folder / "rallies.csv"))
    table = pd.read_csv(folder / "rallies.csv")
    assert list(table.columns) == ["start_sec", "end_sec", "duration_sec", "confidence"]
    assert np.allclose(table["end_sec"] - table["start_sec"], table["duration_sec"], atol=0.0011)
    assert table["confidence"].between(0.5, 1).all()
    probs = pd.read_csv(folder / "probabilities.csv")
    assert list(probs.columns) == ["time_sec", "probability"] and len(probs) == 225
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "final.mp4" in (folder / "report.html").read_text()
    told = capsys.readouterr().out
    assert "final.mp4: 3 rallies, 50% of 0:30.0 in play" in told
    assert "(model trained on SYNTHETIC data)" in told


def test_the_record_has_frames_timecodes_settings_model_and_versions(fitted, match):
    assert detect(match, "--model", fitted[0]) == 0
    record = json.loads((default_dir(match) / "rallies.json").read_text())
    first = record["rallies"][0]
    assert first["start_frame"] == int(first["start_sec"] * 30 + 0.03)
    assert first["start_timecode"] == timecode(first["start_sec"], 30)
    assert (record["fps"], record["fps_fraction"], record["duration_sec"]) == (30, "30", 30)
    assert record["settings"]["features_per_sec"] == 7.5 and record["settings"]["fitted"]
    assert record["model"]["synthetic"] and record["model"]["weights_name"] == "random (seed 0)"
    assert record["versions"]["torch"] == torch.__version__
    assert not record["corrected"] and not record["damaged"] and not record["variable_rate"]
    assert record["speed"]["times_real_time"] > 0


def test_other_settings_reuse_cached_features(fitted, match, monkeypatch):
    assert detect(match, "--model", fitted[0]) == 0
    monkeypatch.setattr(match_features, "encode", None)
    assert detect(match, "--model", fitted[0], "--min-rally-sec", 4) == 0
    assert near(read_marks(default_dir(match) / "rallies.csv"), RALLIES[:2])
    record = json.loads((default_dir(match) / "rallies.json").read_text())
    assert record["speed"]["times_real_time"] is None  # nothing was computed, so there is no speed


def test_a_corrected_table_is_never_overwritten_and_all_other_files_use_it(fitted, match, capsys):
    detect(match, "--model", fitted[0])
    csv = default_dir(match) / "rallies.csv"
    mine = "start_sec,end_sec,duration_sec,confidence\n4.000,9.000,5.000,\n"
    csv.write_text(mine)
    capsys.readouterr()
    for _ in range(2):  # the second run must not take it for its own table
        assert detect(match, "--model", fitted[0], "--export", "srt") == 0
        assert csv.read_text() == mine
    assert f"{csv} was corrected by a person: it is kept" in capsys.readouterr().out
    record = json.loads(csv.with_suffix(".json").read_text())
    assert record["corrected"] and len(record["rallies"]) == 1
    assert record["rallies"][0]["confidence"] is None
    assert (csv.parent / "rallies.srt").read_text().count("Rally") == 1
    assert detect(match, "--model", fitted[0], "--force") == 0
    assert near(read_marks(csv))
    assert not json.loads(csv.with_suffix(".json").read_text())["corrected"]


def test_a_corrected_table_with_an_error_is_named_and_kept(fitted, match, capsys):
    detect(match, "--model", fitted[0])
    csv = default_dir(match) / "rallies.csv"
    csv.write_text("start_sec,end_sec\n9,4\n")
    assert detect(match, "--model", fitted[0]) == 1
    assert f"{csv}: the rally from 9.000 to 4.000" in capsys.readouterr().err
    assert csv.read_text() == "start_sec,end_sec\n9,4\n"


def test_one_bad_file_does_not_stop_the_others(fitted, match, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "final.mkv.proxy.mp4").write_bytes(b"a copy of ours")
    (tmp_path / "notes.txt").write_text("no video at all")
    assert detect(tmp_path, tmp_path / "none.mp4", "--model", fitted[0]) == 1
    told = capsys.readouterr()
    assert "bad.mp4: not a readable video" in told.err and "none.mp4: no such file" in told.err
    assert "proxy" not in told.err and "notes" not in told.err
    assert near(read_marks(default_dir(match) / "rallies.csv"))


def test_a_folder_without_videos_and_a_missing_model_are_named(fitted, tmp_path, capsys):
    assert detect(tmp_path, "--model", fitted[0]) == 1
    assert f"{tmp_path}: no video file in this folder" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no such file: .*none\.pth"):
        detect(tmp_path, "--model", tmp_path / "none.pth")


def test_two_videos_of_one_name_do_not_share_a_folder(fitted, match, capsys):
    other = match.with_suffix(".mov")
    other.write_bytes(match.read_bytes() + b"other")
    assert detect(match, "--model", fitted[0]) == 0
    assert detect(other, "--model", fitted[0]) == 1
    assert "holds the rallies of another file, final.mp4" in capsys.readouterr().err
    assert detect(other, "--model", fitted[0], "--out", match.parent / "o") == 0
    assert near(read_marks(match.parent / "o" / "final_rallies" / "rallies.csv"))


def test_a_model_without_a_fit_uses_windows_and_says_so(backbone, match, tmp_path, capsys):
    model = tmp_path / "plain.pth"
    save_model(model, RES_LSTM(backbone), "random (seed 0)")
    assert detect(match, "--model", model, "--hop-sec", 1) == 0
    assert f"detecting_rallies.py fit --model {model}" in capsys.readouterr().err
    record = json.loads((default_dir(match) / "rallies.json").read_text())
    assert record["settings"]["reads"] == "windows"
    probs = pd.read_csv(default_dir(match) / "probabilities.csv")
    assert probs["time_sec"].tolist() == [k + 0.5 for k in range(30)]


def test_a_window_has_the_same_probability_as_its_sequence(backbone, match, tmp_path):
    model = RES_LSTM(backbone)
    path = tmp_path / "plain.pth"
    save_model(path, model, "random (seed 0)")
    detect(match, "--model", path)
    probs = pd.read_csv(default_dir(match) / "probabilities.csv")
    frames, _ = match_features.read_steps(open_video(match), 105, 30, 1)  # from 3.5 s
    features = stand_in(None, torch.from_numpy(frames))
    with torch.inference_mode():
        expected = torch.sigmoid(model.eval().classify(features[None])).item()
    found = probs.loc[probs["time_sec"] == 4.0, "probability"].item()
    assert found == pytest.approx(expected, abs=0.02)  # the fake noise differs by batch


def test_damage_is_reported_and_the_rest_is_detected(fitted, tmp_path, capsys):
    path = write_damaged_video(tmp_path / "m.ts", 900, at=1 / 3)
    assert detect(path, "--model", fitted[0]) == 0
    assert re.search(r"unknown from 0:\S+ to 0:\S+: the file is damaged", capsys.readouterr().out)
    record = json.loads((default_dir(path) / "rallies.json").read_text())
    assert len(record["damaged"]) == 1 and record["rallies"]


def test_fit_stores_a_head_and_a_decoding_and_leaves_the_model_as_it_was(fitted, backbone):
    model, checkpoint = load_model(fitted[0])
    assert set(checkpoint["detection"]) == {"head", "head_decoding"}
    assert load_detector(fitted[0]).fitted
    assert not load_detector(fitted[0], windows=True).fitted
    assert model.feature_mean.eq(0).all()


def test_fit_never_reads_the_marks_of_test_matches(fitted, tmp_path, capsys):
    model = shutil.copy(fitted[0], tmp_path / "m.pth")
    data = shutil.copytree(fitted[1], tmp_path / "Data")
    (data / "matches" / "test.csv").write_text("start_sec,end_sec\nnonsense,1\n")
    assert detect("fit", "--model", model, "--data", data) == 0
    told = capsys.readouterr().out
    assert "skipped" not in told and "nonsense" not in told
    assert "train: 3 rallies in 1 match" in told


def test_fit_without_marked_matches_says_what_to_do(fitted, tmp_path):
    (tmp_path / "Data" / "matches").mkdir(parents=True)
    (tmp_path / "Data" / "matches" / "final.csv").write_text("start_sec,end_sec\n1,2\n")
    with pytest.raises(
        UserError,
        match=r"no marked match in train.*--match.*videos\.csv\n  - final: its video has no split",
    ):
        detect("fit", "--model", fitted[0], "--data", tmp_path / "Data")


def test_windows_are_taken_at_the_rate_of_the_models_sequences(
    backbone, match, tmp_path, monkeypatch
):
    def numbers(_encoder, frames):
        found = [number_in(frame.numpy().transpose(1, 2, 0)) for frame in frames]
        return torch.tensor(found, dtype=torch.float32)[:, None].expand(-1, 512)

    monkeypatch.setattr(match_features, "encode", numbers)
    model = tmp_path / "m.pth"
    save_model(model, RES_LSTM(backbone, ModelConfig(seq_frames=15, fps=10.0)), "x")
    assert detect(match, "--model", model, "--hop-sec", 0.5) == 0
    folder = default_dir(match)
    settings = json.loads((folder / "rallies.json").read_text())["settings"]
    assert settings["features_per_sec"] == 10 and settings["hop_sec"] == 0.5
    times = pd.read_csv(folder / "probabilities.csv")["time_sec"]
    assert times.tolist() == np.round(np.arange(0.75, 29.26, 0.5), 3).tolist()  # 1.5 s each
    (pieces,) = (folder / "features").iterdir()
    sequence = read_sequence_at(open_video(match), 2.0, 15, 10.0)
    assert load_steps(pieces, 20, 35)[:, 0].tolist() == [number_in(frame) for frame in sequence]


def test_windows_need_a_model_with_a_known_frame_rate(backbone, match, tmp_path, capsys):
    model = tmp_path / "m.pth"
    save_model(model, RES_LSTM(backbone, ModelConfig(fps=None)), "x")
    assert detect(match, "--model", model) == 1
    told = capsys.readouterr().err
    assert f"{model} was saved by an earlier version" in told
    assert "did not record the frame rate of its training sequences" in told


def test_windows_can_be_fitted_beside_the_head(fitted, tmp_path):
    model = shutil.copy(fitted[0], tmp_path / "m.pth")
    assert detect("fit", "--windows", "--model", model, "--data", fitted[1]) == 0
    both = load_model(model)[1]["detection"]
    assert set(both) == {"head", "head_decoding", "window_decoding"}


def test_evaluate_prints_and_writes_the_figures(fitted, match, tmp_path, capsys):
    detect(match, "--model", fitted[0], "--out", tmp_path / "found")
    truth = tmp_path / "truth"
    truth.mkdir()
    pd.DataFrame(RALLIES, columns=["start_sec", "end_sec"]).to_csv(truth / "final.csv", index=False)
    told = tmp_path / "figures.json"
    arguments = ["--predicted", tmp_path / "found", "--truth", truth, "--json", told]
    assert detect("evaluate", *arguments) == 0
    assert json.loads(told.read_text())["mean"]["iou"]["0.5"]["f1"] == 1
    assert "final" in capsys.readouterr().out


def test_a_reel_without_rallies_is_refused_but_the_report_is_there(
    backbone, match, tmp_path, capsys
):
    model = tmp_path / "plain.pth"
    save_model(model, RES_LSTM(backbone), "random (seed 0)")
    update_checkpoint(model, "detection", {"window_decoding": asdict(Decoding())})
    code = detect(match, "--model", model, "--threshold", 0.999, "--reel")
    assert code == 1 and "final.mp4: there are no rallies for a reel" in capsys.readouterr().err
    assert (default_dir(match) / "report.html").exists()


@pytest.mark.parametrize(
    "wrong", ["--threshold=1.5", "--hop-sec=0", "--export=avi", "--pre-roll=x"]
)
def test_wrong_use_ends_with_code_2(fitted, match, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        detect(match, "--model", fitted[0], wrong)
    assert ended.value.code == 2
    assert wrong[2:].split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["final.mp4"], ["--model", "best_model.pth"]])
def test_without_a_match_or_a_model_the_command_shows_what_to_give(given, capsys):
    with pytest.raises(SystemExit) as ended:
        detect(*given)
    assert ended.value.code == 2
    assert "final.mp4 --model runs/NAME/best_model.pth" in capsys.readouterr().err


def test_frames_and_timecodes_count_from_the_first_frame(match):
    video = open_video(match)
    assert [frame_at(video, sec) for sec in (0, 0.0334, 1.0, 29.99, 30.0)] == [0, 1, 30, 899, 900]
    assert timecode(3661.5, 25) == "01:01:01:13"


def test_the_marking_page_gets_no_proposals_in_validation_and_test(fitted, match):
    model, data = fitted
    assert near(read_marks(detect_proposals(match, model, data)))
    for split in ("validation", "test"):
        path = data / f"{split}.mp4"
        with pytest.raises(UserError, match=f"{path} is in {split}, .* mark it without --model"):
            detect_proposals(path, model, data)


def test_a_kill_between_table_and_record_does_not_make_a_corrected_table(
    fitted, match, monkeypatch
):
    for stop in ("write_table", "plot_timeline"):
        with monkeypatch.context() as patch:
            patch.setattr(results, stop, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                detect(match, "--model", fitted[0])
        assert detect(match, "--model", fitted[0], "--min-rally-sec", 4) == 0
        assert near(read_marks(default_dir(match) / "rallies.csv"), RALLIES[:2])


def test_two_matches_of_one_file_name_get_separate_results(fitted, match, tmp_path, capsys):
    other = tmp_path / "other" / match.name
    other.parent.mkdir()
    other.write_bytes(match.read_bytes() + b"other")
    out = tmp_path / "out"
    assert detect(match, other, "--model", fitted[0], "--out", out) == 1
    assert "holds the rallies of another file" in capsys.readouterr().err
    assert detect(other, "--model", fitted[0], "--out", out, "--force") == 0


@pytest.mark.parametrize("name", ["x$^$.mp4", "it's #1 100%?.mp4", "Finale für Ärzte.mp4"])
def test_odd_names_are_detected_and_cut(fitted, match, name):
    path = match.rename(match.with_name(name))
    assert detect(path, "--model", fitted[0], "--reel", "--clips", "--export", "otio", "edl") == 0
    assert (default_dir(path) / "reel.mp4").stat().st_size > 1000
    assert len(list((default_dir(path) / "clips").iterdir())) == 3


@pytest.mark.parametrize(
    "lines",
    [["train,train.mp4", "test,train.mp4"], ["train,train.mp4", "test,./train.mp4"]],
)
def test_fit_refuses_a_match_in_two_splits(fitted, tmp_path, lines):
    data = shutil.copytree(fitted[1], tmp_path / "Data")
    lines = ["split,video", *lines, "validation,validation.mp4"]
    (data / "videos.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"train.mp4 is in both train and test"):
        detect("fit", "--model", fitted[0], "--data", data)


def test_marks_beyond_the_end_of_a_match_are_refused(fitted, tmp_path):
    data = shutil.copytree(fitted[1], tmp_path / "Data")
    (data / "matches" / "train.csv").write_text("start_sec,end_sec\n1,2\n500,600\n")
    model = shutil.copy(fitted[0], tmp_path / "m.pth")
    with pytest.raises(UserError, match=r"train\.mp4: a rally ends at 600"):
        detect("fit", "--model", model, "--data", data)


def test_has_marked_matches_needs_all_three_splits(fitted, tmp_path):
    data = shutil.copytree(fitted[1], tmp_path / "Data")
    assert has_marked_matches(data)
    assert present_matches(data, "test") == [(data / "test.mp4", Truth(RALLIES))]
    (data / "test.mp4").unlink()
    assert not has_marked_matches(data)
