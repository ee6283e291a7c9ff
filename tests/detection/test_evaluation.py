import hashlib
import json
import re
from pathlib import Path

import pytest

from detection.evaluation import (
    evaluate_folders,
    find_predicted,
    find_truth,
    read_speed,
    record_path,
    run_evaluation,
)
from detection.evaluation_tables import print_evaluation
from files import UserError

TRUTH = [(1.2, 5.1), (6.0, 18.0), (20.0, 24.0)]
FOUND = [(1.0, 5.0), (6.1, 17.2), (30.0, 33.0)]


def write_marks(path, marks=TRUTH):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{start},{end}" for start, end in marks]
    path.write_text("\n".join(["start_sec,end_sec", *rows, ""]))
    return path


def write_detected(folder, marks=FOUND, **record):
    """Writes the files of a detected match that evaluation reads."""
    folder.mkdir(parents=True)
    rows = [f"{start},{end},{end - start:.3f},0.9" for start, end in marks]
    header = "start_sec,end_sec,duration_sec,confidence"
    (folder / "rallies.csv").write_text("\n".join([header, *rows, ""]))
    (folder / "probabilities.csv").write_text("time_sec,probability\n0.5,0.1\n")
    if record:
        (folder / "rallies.json").write_text(json.dumps(record))
    return folder / "rallies.csv"


@pytest.fixture
def folders(tmp_path):
    """(predicted, truth) of the match "final"."""
    write_detected(tmp_path / "predicted/final_rallies", duration_sec=60.0)
    write_marks(tmp_path / "truth/final.csv")
    return tmp_path / "predicted", tmp_path / "truth"


# what is found


def test_the_folders_that_detection_leaves_are_found_by_their_matches(tmp_path):
    b = write_detected(tmp_path / "b.v2_rallies")
    a = write_detected(tmp_path / "a_rallies")
    (tmp_path / "killed_rallies").mkdir()
    assert list(find_predicted(tmp_path).items()) == [("a", a), ("b.v2", b)]


def test_a_single_folder_that_detection_leaves_is_found(tmp_path, monkeypatch):
    table = write_detected(tmp_path / "final_rallies")
    assert find_predicted(tmp_path / "final_rallies") == {"final": table}
    monkeypatch.chdir(tmp_path / "final_rallies")
    assert find_predicted(Path(".")) == {"final": Path("rallies.csv")}


def test_tables_in_a_folder_are_found_without_logs_points_and_probabilities(tmp_path):
    table = write_marks(tmp_path / "final.csv")
    for other in (
        "final.log.csv",
        "final.points.csv",
        "probabilities.csv",
        "._final.csv",
        "final.txt",
    ):
        (tmp_path / other).write_text("something else\n")
    assert find_predicted(tmp_path) == {"final": table} == find_truth(tmp_path)


def test_ground_truth_beside_the_folders_is_not_taken_for_a_prediction(tmp_path):
    write_marks(tmp_path / "final.csv")
    table = write_detected(tmp_path / "final_rallies")
    assert find_predicted(tmp_path) == {"final": table}
    table.unlink()
    with pytest.raises(UserError, match="no predictions.*: python detecting_rallies.py MATCH.mp4"):
        find_predicted(tmp_path)


@pytest.mark.parametrize("find", [find_predicted, find_truth])
def test_a_missing_folder_or_a_file_in_its_place_is_named(tmp_path, find):
    with pytest.raises(UserError, match="nowhere does not exist"):
        find(tmp_path / "nowhere")
    (tmp_path / "file.csv").write_text("start_sec,end_sec\n")
    with pytest.raises(UserError, match="file.csv is not a folder; give the folder"):
        find(tmp_path / "file.csv")


def test_no_tables_at_all_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "final.log.csv").write_text("time\n")
    with pytest.raises(UserError, match="mark a match with python labeling.py --match"):
        find_truth(tmp_path)
    with pytest.raises(UserError, match="detecting_rallies.py"):
        find_predicted(tmp_path)


def test_only_a_rallies_csv_has_a_record_beside_it(tmp_path):
    table = write_detected(tmp_path / "final_rallies", duration_sec=3)
    assert record_path(table) == tmp_path / "final_rallies/rallies.json"
    assert record_path(write_marks(tmp_path / "final_rallies/other.csv")) is None
    assert record_path(write_detected(tmp_path / "b_rallies")) is None


# records


def test_values_missing_from_a_record_are_none(tmp_path):
    path = tmp_path / "rallies.json"
    names = ("duration_sec", "times_real_time", "peak_rss_mb", "written_sha256")
    nothing = dict.fromkeys(names)
    for record in ({}, {"speed": {}}, {"speed": None, "duration_sec": None}):
        path.write_text(json.dumps(record))
        assert read_speed(path) == nothing
    path.write_text('{"duration_sec": 90, "speed": {"times_real_time": 2.5, "more": "x"}, "n": 1}')
    assert read_speed(path) == nothing | {"duration_sec": 90, "times_real_time": 2.5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"speed": 3}',
        '{"duration_sec": "60"}',
        '{"duration_sec": 0}',
        '{"duration_sec": NaN}',
        '{"speed": {"times_real_time": -1}}',
        '{"speed": {"peak_rss_mb": Infinity}}',
    ],
)
def test_a_damaged_record_is_named(folders, text):
    path = folders[0] / "final_rallies/rallies.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"rallies.json.*detect the match again"):
        evaluate_folders(*folders)


# evaluating


def test_a_match_is_as_long_as_its_record_says(folders):
    measured = evaluate_folders(*folders)["matches"]["final"]
    assert (measured["predicted"], measured["true"]) == (3, 3)
    assert measured["iou"]["0.5"]["tp"] == 2
    assert measured["errors"]["start"] == [-0.2, 0.1]
    assert (measured["duration_sec"], measured["duration_from"]) == (60.0, "rallies.json")
    assert measured["time"]["samples"] == 600


@pytest.mark.parametrize(("true_end", "duration"), [(24.0, 33.0), (40.5, 40.5)])
def test_without_a_record_a_match_ends_with_its_last_rally(tmp_path, capsys, true_end, duration):
    write_marks(tmp_path / "p/final.csv", FOUND)
    write_marks(tmp_path / "t/final.csv", [*TRUTH[:2], (20.0, true_end)])
    result = evaluate_folders(tmp_path / "p", tmp_path / "t")
    measured = result["matches"]["final"]
    assert (measured["duration_sec"], measured["duration_from"]) == (duration, "last rally")
    print_evaluation(result)
    assert "no duration in a rallies.json, so" in capsys.readouterr().out


def test_true_rallies_a_little_after_the_records_end_are_kept(folders):
    write_marks(folders[1] / "final.csv", [*TRUTH, (50.0, 60.9)])
    assert evaluate_folders(*folders)["matches"]["final"]["duration_sec"] == 60.9


def test_true_rallies_far_after_the_records_end_are_those_of_another_file(folders):
    write_marks(folders[1] / "final.csv", [*TRUTH, (100.0, 110.0)])
    with pytest.raises(
        UserError,
        match=r"final.csv: a rally ends at 110.000 s.*rallies.json.* 60.000.*another file",
    ):
        evaluate_folders(*folders)


def test_a_corrected_table_is_reported(folders, capsys):
    table = folders[0] / "final_rallies/rallies.csv"
    record = {"duration_sec": 60, "written_sha256": hashlib.sha256(table.read_bytes()).hexdigest()}
    table.with_name("rallies.json").write_text(json.dumps(record))
    assert not evaluate_folders(*folders)["matches"]["final"]["corrected"]
    write_marks(table, TRUTH)
    result = evaluate_folders(*folders)
    assert result["matches"]["final"]["corrected"]
    print_evaluation(result)
    assert "CORRECTED by a person after detection" in capsys.readouterr().out


def test_files_that_yt_dlp_named_go_with_the_truth_of_their_id(tmp_path):
    write_detected(tmp_path / "p/The final [AQRxDt9jc1U]_rallies")
    write_marks(tmp_path / "t/AQRxDt9jc1U.csv")
    result = evaluate_folders(tmp_path / "p", tmp_path / "t")
    assert list(result["matches"]) == ["AQRxDt9jc1U"] and result["extra"] == []
    write_detected(tmp_path / "p/AQRxDt9jc1U_rallies")
    with pytest.raises(UserError, match="are both predictions of AQRxDt9jc1U; remove one"):
        evaluate_folders(tmp_path / "p", tmp_path / "t")


def test_a_folder_compared_with_itself_is_refused(folders):
    with pytest.raises(UserError, match="compared with itself"):
        evaluate_folders(folders[1], folders[1])


def test_no_match_in_common_is_an_error_that_names_both_sides(tmp_path, folders):
    write_marks(tmp_path / "other/semifinal.csv")
    with pytest.raises(
        UserError, match=r"no match has both.*: final; ground truth in .*: semifinal;.*X\.csv$"
    ):
        evaluate_folders(folders[0], tmp_path / "other")


def test_tables_of_other_columns_are_an_error(folders):
    (folders[0] / "final_rallies/rallies.csv").write_text("begin,end\n1,2\n")
    with pytest.raises(UserError, match="rallies.csv has no column start_sec"):
        evaluate_folders(*folders)


def test_matches_are_summed_up_with_their_speed(folders):
    write_detected(
        folders[0] / "b_rallies",
        TRUTH,
        duration_sec=120.0,
        speed={"times_real_time": 4.0, "peak_rss_mb": 900.5},
    )
    write_detected(
        folders[0] / "c_rallies",
        TRUTH,
        duration_sec=60.0,
        speed={"times_real_time": 1.0, "peak_rss_mb": 700},
    )
    for name in "bc":
        write_marks(folders[1] / f"{name}.csv")
    result = evaluate_folders(*folders)
    # 120 s in 30 s and 60 s in 60 s
    assert result["speed"] == {"times_real_time": 2.0, "peak_rss_mb": 900.5, "matches": 2}
    assert result["worst"]["match"] == "final"
    assert result["pooled"]["iou"]["0.5"]["tp"] == 8
    assert result["mean"]["iou"]["0.5"]["f1"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert result["median_edges"] == {"start_sec": 0.0, "end_sec": 0.0}


def test_the_drawn_sample_is_called_synthetic(tmp_path, capsys):
    write_detected(tmp_path / "p/test_8_rallies")
    write_marks(tmp_path / "sample/videos/test_8.csv")
    run_evaluation(tmp_path / "p", tmp_path / "sample/videos")
    assert "SYNTHETIC" not in capsys.readouterr().out
    (tmp_path / "sample/sample.json").write_text("{}")
    run_evaluation(tmp_path / "p", tmp_path / "sample/videos")
    assert ": 1 SYNTHETIC match\n" in capsys.readouterr().out


# the command


def test_a_missing_prediction_is_named_and_left_out_and_sets_the_exit_code(folders, capsys):
    alone = evaluate_folders(*folders)
    assert run_evaluation(*folders) == 0
    assert "NOT EVALUATED" not in capsys.readouterr().out
    write_marks(folders[1] / "semifinal.csv")
    (folders[0] / "semifinal_rallies").mkdir()
    assert run_evaluation(*folders) == 1
    out = capsys.readouterr().out
    assert "NOT EVALUATED, ground truth without a prediction: semifinal" in out
    result = evaluate_folders(*folders)
    assert result["missing"] == ["semifinal"]
    assert result["pooled"] == alone["pooled"]


def test_a_prediction_without_ground_truth_is_named_and_left_out(folders, capsys):
    write_detected(folders[0] / "semifinal_rallies")
    assert run_evaluation(*folders) == 0
    assert "prediction without ground truth: semifinal" in capsys.readouterr().out
    assert list(evaluate_folders(*folders)["matches"]) == ["final"]


def test_the_written_json_is_the_result_without_nan(folders, tmp_path):
    for name in ("nothing", "unseen"):
        write_detected(folders[0] / f"{name}_rallies", [])
    write_marks(folders[1] / "nothing.csv", [])
    write_marks(folders[1] / "unseen.csv")
    path = tmp_path / "new/folder/result.json"
    assert run_evaluation(*folders, path) == 0

    def refuse(constant):
        raise AssertionError(constant)

    written = json.loads(path.read_text(), parse_constant=refuse)
    assert written == evaluate_folders(*folders)
    assert written["matches"]["nothing"]["iou"]["0.5"]["f1"] is None
    assert written["matches"]["unseen"]["iou"]["0.5"]["precision"] is None
    assert written["empty"] == ["nothing"]


def test_the_printout_has_a_row_for_each_match_and_the_numbers_of_others(folders, capsys):
    write_detected(folders[0] / "b_rallies", [], duration_sec=50.0)
    write_marks(folders[1] / "b.csv", [])
    print_evaluation(evaluate_folders(*folders))
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    # start -0.2 and +0.1, end -0.1 and -0.8; 82 of 600 samples are wrong: 2 + 1, 1 + 8, 40, 30
    numbers = ["3", "3", "0.667", "0.667", "0.667", "0.150", "0.450", "0", "0"]
    assert rows["final"] == ["final", *numbers, "0.863"]
    assert rows["b"] == ["b", "0", "0", "-", "-", "-", "-", "-", "0", "0", "1.000"]
    assert rows["mean"][3:6] == ["0.667"] * 3
    assert rows["pooled"][1:3] == ["3", "3"]
    assert rows["start"][-4:] == ["0.150", "-0.050", "0.0", "%"]
    assert rows["end"][-4:] == ["0.450", "-0.450", "50.0", "%"]
    assert any(line.startswith("shuttlecut ") and line.endswith(" 0.840") for line in lines)
    assert any("(LENIENT) " in line and line.endswith(" 0.889") for line in lines)
    assert "no true and no predicted rally, so not in the mean F1: b" in lines


def test_columns_are_aligned(folders, capsys):
    write_detected(folders[0] / "a much longer name_rallies", duration_sec=60.0)
    write_marks(folders[1] / "a much longer name.csv")
    print_evaluation(evaluate_folders(*folders))
    lines = capsys.readouterr().out.splitlines()
    table = lines[2:7]
    assert table[0].startswith("match ") and table[-1].startswith("pooled ")
    assert len({len(line) for line in table}) == 1


def test_marks_that_are_shifted_against_the_probabilities_are_said(tmp_path, capsys):
    found = [(20.0, 28.0), (50.0, 59.0), (80.0, 86.0)]
    table = write_detected(tmp_path / "found" / "final_rallies", found)
    times = [k * 0.2 for k in range(500)]
    sure = [0.9 if any(s <= sec < e for s, e in found) else 0.05 for sec in times]
    rows = [f"{sec:.1f},{prob}" for sec, prob in zip(times, sure, strict=True)]
    table.with_name("probabilities.csv").write_text("\n".join(["time_sec,probability", *rows, ""]))
    write_marks(tmp_path / "truth" / "final.csv", [(s - 3, e - 3) for s, e in found])
    assert run_evaluation(tmp_path / "found", tmp_path / "truth") == 0
    told = capsys.readouterr().out
    assert re.search(r"the marks of final seem (2\.9|3\.0) s too early for this film", told)
    write_marks(tmp_path / "truth" / "final.csv", found)
    run_evaluation(tmp_path / "found", tmp_path / "truth")
    assert "warning" not in capsys.readouterr().out
