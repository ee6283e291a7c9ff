import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pandas as pd
import pytest

import collecting_data
from collecting_data import collect_video, open_video, read_sequence_at, read_sources
from conftest import number_in, write_video
from files import UserError


def numbers(path, start_sec, **options):
    return [number_in(frame) for frame in read_sequence_at(open_video(path), start_sec, **options)]


def saved(data, sequence, split="train"):
    folder = data / split / "sequences" / sequence
    return [number_in(cv2.imread(str(path))) for path in sorted(folder.iterdir())]


def on_screen(rate, start_sec, count=30):
    """The number on screen at each time, from the rate alone; 1 ms early is on time."""
    return [int((start_sec + k / 30 + 0.001) * rate) for k in range(count)]


@pytest.mark.parametrize("start_sec", [0, 1.3, 4.0, 6.5])
@pytest.mark.parametrize("rate", ["10", "25", "30000/1001", "30", "50", "60"])
def test_each_frame_is_the_one_on_screen_at_its_time(tmp_path, rate, start_sec):
    number, _, by = rate.partition("/")
    rate_per_sec = int(number) / int(by or 1)
    path = write_video(tmp_path / "v.mp4", rate, int(rate_per_sec * 8))
    assert numbers(path, start_sec) == on_screen(rate_per_sec, start_sec)


@pytest.mark.parametrize("name", ["v.ts", "v.mkv", "v.webm", "offset.mp4"])
def test_containers_and_start_offsets_change_nothing(tmp_path, name):
    codec = "libvpx-vp9" if name == "v.webm" else "libx264"
    options = ["-c:v", codec, "-pix_fmt", "yuv420p", "-g", "40"]
    options += ["-output_ts_offset", "5"] if name == "offset.mp4" else []
    path = write_video(tmp_path / name, "30", 150, *options)
    assert numbers(path, 2.5) == on_screen(30, 2.5)


def test_a_variable_rate_is_followed(tmp_path):
    slow_then_fast = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"
    options = ["-vf", slow_then_fast, "-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    path = write_video(tmp_path / "v.mp4", "25", 200, *options, "-pix_fmt", "yuv420p")
    expected = [
        int(25 * t) if t < 2 else 50 + int(50 * (t - 2))
        for t in (1.5 + k / 30 + 0.001 for k in range(30))
    ]
    assert numbers(path, 1.5) == expected


def test_native_takes_consecutive_frames(tmp_path):
    path = write_video(tmp_path / "v.mp4", "50", 200)
    assert numbers(path, 1.0, fps=None) == list(range(50, 80))


def test_sequences_in_any_order_are_the_same(video):
    source = open_video(video)
    for start_sec in (7.0, 0.5, 8.5, 8.6, 0.0):
        frames = read_sequence_at(source, start_sec)
        assert [number_in(frame) for frame in frames] == on_screen(30, start_sec)


def test_a_hole_in_time_refuses_the_sequence_that_holds_it(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,75)'", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p"]
    path = write_video(tmp_path / "v.mp4", "30", 200, "-c:v", "libx264", *hole)
    with pytest.raises(UserError, match=r"no frames from 1.47 to 2.53 s"):
        numbers(path, 1.0)
    assert numbers(path, 3.0) == on_screen(30, 3.0)
    with pytest.raises(UserError, match="no sequence at 1 s .*, 2 s .*4 complete sequences kept"):
        collect_video(path, tmp_path / "Data", "train", interval_sec=1.0)


def test_every_sequence_inside_a_long_hole_is_refused(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,195)'", "-fps_mode", "passthrough"]
    path = write_video(
        tmp_path / "v.mp4", "30", 300, "-c:v", "libx264", *hole, "-pix_fmt", "yuv420p"
    )
    for start_sec in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        with pytest.raises(UserError, match="no frames from"):
            numbers(path, start_sec)
    assert numbers(path, 7.0) == on_screen(30, 7.0)


def test_a_recording_joined_late_gives_all_but_what_it_missed(tmp_path):
    whole = write_video(tmp_path / "whole.ts", "30", 300)
    data = whole.read_bytes()
    (tmp_path / "late.ts").write_bytes(data[len(data) // 20 // 188 * 188 :])
    with pytest.raises(UserError, match="no sequence at 0 s"):
        collect_video(tmp_path / "late.ts", tmp_path / "Data", "train", interval_sec=1.0)
    assert len(read_sources(tmp_path / "Data" / "train")) >= 5


def test_starts_of_any_length_are_found_again(video, tmp_path):
    data = tmp_path / "Data"
    added = collect_video(video, data, "train", 1.2345678)
    assert added == 8 and collect_video(video, data, "train", 1.2345678) == 0
    assert read_sources(data / "train")["start_sec"].iloc[1] == "1.235"


def test_another_rate_for_the_same_video_is_refused(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", 5.0)
    with pytest.raises(UserError, match="collected before at 30 frames a second"):
        collect_video(video, tmp_path / "Data", "train", 2.0, fps=15.0)


def test_a_failed_rename_is_made_good_the_next_time(video, tmp_path, monkeypatch):
    data = tmp_path / "Data"
    with monkeypatch.context() as patch:

        def fail(*_):
            raise OSError(5, "Input/output error")

        patch.setattr(Path, "rename", fail)
        with pytest.raises(UserError, match="cannot write seq_00001"):
            collect_video(video, data, "train", 5.0)
    collect_video(video, data, "train", 5.0)
    assert read_sources(data / "train")["start_sec"].tolist() == ["0", "5"]
    assert saved(data, "seq_00001") == on_screen(30, 0.0)


def test_a_removed_sequence_is_made_again_under_a_new_number(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", 5.0)
    shutil.rmtree(data / "train" / "sequences" / "seq_00002")
    assert collect_video(video, data, "train", 5.0) == 1
    assert saved(data, "seq_00003") == on_screen(30, 5.0)


def test_further_columns_of_the_table_are_kept(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", 5.0)
    table = data / "train" / "sequences.csv"
    sources = pd.read_csv(table, dtype=str)
    sources.assign(note=["first", "second"]).to_csv(table, index=False)
    collect_video(video, data, "train", 2.5)
    assert pd.read_csv(table)["note"].tolist()[:2] == ["first", "second"]


def test_a_sequence_starts_every_interval_and_ends_inside_the_video(video, tmp_path):
    data = tmp_path / "Data"
    assert collect_video(video, data, "train", interval_sec=3.0) == 4
    sources = read_sources(data / "train")
    assert sources["start_sec"].tolist() == ["0", "3", "6", "9"]
    assert sources["sequence"].tolist() == [f"seq_{k:05d}" for k in (1, 2, 3, 4)]
    assert set(sources["fps"]) == {"30"}
    for k, sequence in enumerate(sources["sequence"]):
        assert saved(data, sequence) == on_screen(30, 3 * k)


def test_frames_are_224_by_224_and_numbered_from_one(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", interval_sec=5.0)
    files = sorted((tmp_path / "Data" / "train" / "sequences" / "seq_00001").iterdir())
    assert [f.name for f in files] == [f"{k:05d}.jpg" for k in range(1, 31)]
    assert all(cv2.imread(str(f)).shape == (224, 224, 3) for f in files)


def test_doing_it_again_adds_nothing_and_a_shorter_interval_only_what_is_new(video, tmp_path):
    data = tmp_path / "Data"
    assert collect_video(video, data, "train", 4.0) == 3
    assert collect_video(video, data, "train", 4.0) == 0
    assert collect_video(video, data, "train", 2.0) == 2
    assert read_sources(data / "train")["start_sec"].tolist() == ["0", "4", "8", "2", "6"]


def test_numbers_go_on_after_the_highest_ever_used(video, tmp_path):
    data = tmp_path / "Data"
    (data / "train" / "sequences" / "seq_00007").mkdir(parents=True)
    (data / "train" / "train.csv").write_text("sequence,label\nseq_00012,1\n")
    collect_video(video, data, "train", 5.0)
    assert read_sources(data / "train")["sequence"].tolist() == ["seq_00013", "seq_00014"]


def test_another_video_is_added_after_the_first(video, tmp_path):
    data = tmp_path / "Data"
    other = write_video(tmp_path / "other one, für alle.mp4", "25", 100)
    collect_video(video, data, "train", 5.0)
    assert collect_video(other, data, "train", 3.0) == 2
    assert read_sources(data / "train")["video"].tolist() == [str(video)] * 2 + [str(other)] * 2


def test_a_video_of_one_split_is_refused_in_another(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", 5.0)
    with pytest.raises(UserError, match="already in train"):
        collect_video(video, tmp_path / "Data", "test", 5.0)


def test_a_video_inside_the_data_folder_is_named_relative_to_it(tmp_path):
    data = tmp_path / "Data"
    (data / "videos").mkdir(parents=True)
    collect_video(write_video(data / "videos" / "v.mp4", "30", 60), data, "test")
    assert read_sources(data / "test")["video"].tolist() == ["videos/v.mp4"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["in the frames", "before the table", "before the rename"])
def test_a_kill_at_any_moment_leaves_folder_and_table_as_one(video, tmp_path, monkeypatch, moment):
    def killed(*args, **kwargs):
        raise Killed

    data = tmp_path / "Data"
    collect_video(video, data, "train", 9.0)
    with monkeypatch.context() as patch:
        if moment == "in the frames":
            encode, calls = cv2.imencode, iter(range(100))
            patch.setattr(cv2, "imencode", lambda *a: encode(*a) if next(calls) < 40 else killed())
        elif moment == "before the table":
            patch.setattr(collecting_data, "write_table", killed)
        else:
            patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            collect_video(video, data, "train", 3.0)
    collect_video(video, data, "train", 3.0)
    sources = read_sources(data / "train")
    folders = sorted(p.name for p in (data / "train" / "sequences").iterdir() if p.is_dir())
    assert sorted(sources["sequence"]) == folders
    assert sorted(sources["start_sec"].astype(float)) == [0, 3, 6, 9]
    for row in sources.itertuples():
        assert saved(data, row.sequence) == on_screen(30, float(row.start_sec))


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_sequence(video, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="cannot write seq_00001.*No space left"):
        collect_video(video, tmp_path / "Data", "train")
    assert not list((tmp_path / "Data" / "train" / "sequences").glob("*seq*"))


def collect(data, *videos, options=()):
    command = [sys.executable, "collecting_data.py", *map(str, videos), "--data", str(data)]
    command += ["--split", "train", "--interval-sec", "2", *options]
    return subprocess.run(command, capture_output=True, text=True)


def test_bad_files_get_a_line_each_and_do_not_stop_the_others(video, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = write_video(
        tmp_path / "whole.mp4",
        "30",
        300,
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "15",
        "-movflags",
        "+faststart",
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    short = write_video(tmp_path / "short.mp4", "30", 20)
    bad = [tmp_path / "missing.mp4", tmp_path / "text.mp4", tmp_path / "empty.mp4", cut, short]
    told = collect(tmp_path / "Data", *bad, video)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    for line in [
        "missing.mp4: there is no such file",
        "text.mp4: not a video that can be read",
        "empty.mp4: not a video that can be read",
        "cut.mp4: breaks off at",
        "short.mp4: only 0.67 s long",
    ]:
        assert line in told.stderr
    sources = read_sources(tmp_path / "Data" / "train")
    assert (sources["video"] == str(video)).sum() == 5
    kept = sources[sources["video"] == str(cut)]
    assert 1 <= len(kept) < 5
    for row in kept.itertuples():
        frames = saved(tmp_path / "Data", row.sequence)
        assert frames == on_screen(30, float(row.start_sec))
    assert "5 of 6 videos had problems" in told.stdout


def test_good_files_end_with_exit_code_0_a_count_and_what_to_do_next(video, tmp_path):
    told = collect(tmp_path / "Data", video)
    assert told.returncode == 0
    assert told.stdout.startswith("train: 5 sequences added, 5 in all\nnext: label each")
    assert str(tmp_path / "Data" / "train" / "train.csv") in told.stdout


@pytest.mark.parametrize(
    "wrong", [["--interval-sec", "0"], ["--fps", "fast"], ["--seq-frames", "-1"]]
)
def test_wrong_use_ends_with_exit_code_2(video, tmp_path, wrong):
    told = collect(tmp_path / "Data", video, options=wrong)
    assert told.returncode == 2 and wrong[0] in told.stderr
    assert not (tmp_path / "Data").exists()


def test_collecting_imports_no_torch():
    check = "import sys, collecting_data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_the_table_reads_as_the_readme_says(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", 5.0)
    table = pd.read_csv(tmp_path / "Data" / "train" / "sequences.csv")
    assert list(table.columns) == ["sequence", "video", "start_sec", "fps"]
