import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pandas as pd
import pytest

from collection import batch, sequences
from collection.sequences import Settings, collect_video, publish, recover
from collection.sources import list_collected, read_records, read_sources
from conftest import number_in, write_video
from files import UserError
from media.video import open_video


def saved(data, sequence, split="train"):
    folder = data / split / "sequences" / sequence
    return [number_in(cv2.imread(str(path))) for path in sorted(folder.iterdir())]


def on_screen(start_sec):
    return [int((start_sec + k / 30 + 0.001) * 30) for k in range(30)]


def plan_video(video, data, split, settings):
    """Does what --dry-run does, and raises its problem."""
    [plan] = batch.plan_all([(split, str(video))], data, lambda _: settings, None)
    if plan.problem:
        raise UserError(plan.problem)


def tree(folder):
    """{relative path: bytes} of all files except locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_sequence_starts_every_interval_and_ends_inside_the_video(video, tmp_path):
    data = tmp_path / "Data"
    assert collect_video(video, data, "train", Settings(3.0)) == 4
    sources = read_sources(data / "train")
    assert sources["start_sec"].tolist() == ["0", "3", "6", "9"]
    assert sources["sequence"].tolist() == [f"seq_{k:05d}" for k in (1, 2, 3, 4)]
    assert set(sources["fps"]) == {"30"}
    for k, sequence in enumerate(sources["sequence"]):
        assert saved(data, sequence) == on_screen(3 * k)


def test_sequences_stay_between_start_and_end(video, tmp_path):
    settings = Settings(2.0, start_sec=1.5, end_sec=6.5)
    assert collect_video(video, tmp_path / "Data", "train", settings) == 3
    assert read_sources(tmp_path / "Data" / "train")["start_sec"].tolist() == ["1.5", "3.5", "5.5"]


def test_starts_do_not_depend_on_rounding():
    assert Settings(0.1).starts(1.3, 30) == [0, 0.1, 0.2, 0.3]
    assert Settings(30.0).starts(0.9, 30) == []
    assert Settings(1.0, fps=None).starts(3.0, 10) == [0]  # 30 frames at 10 fps take 3 s
    assert len(Settings(30.0).starts(3600, 25)) == 120


def test_frames_are_224_by_224_and_numbered_from_one(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", Settings(5.0))
    files = sorted((tmp_path / "Data" / "train" / "sequences" / "seq_00001").iterdir())
    assert [f.name for f in files] == [f"{k:05d}.jpg" for k in range(1, 31)]
    assert all(cv2.imread(str(f)).shape == (224, 224, 3) for f in files)


def test_the_table_reads_as_docs_data_format_says(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", Settings(5.0))
    table = pd.read_csv(tmp_path / "Data" / "train" / "sequences.csv")
    assert list(table.columns) == ["sequence", "video", "start_sec", "fps", "resize"]


def test_an_old_table_without_resize_is_read_and_extended(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    table = data / "train" / "sequences.csv"
    pd.read_csv(table, dtype=str).drop(columns="resize").assign(note="old").to_csv(
        table, index=False
    )
    assert read_sources(data / "train")["resize"].tolist() == ["", ""]
    collect_video(video, data, "train", Settings(2.5))
    assert read_sources(data / "train")["resize"].tolist() == ["", "", "area", "area"]
    assert read_sources(data / "train")["note"].tolist() == ["old", "old", "", ""]


def test_a_second_run_adds_nothing_and_a_shorter_interval_only_new_starts(video, tmp_path):
    data = tmp_path / "Data"
    assert collect_video(video, data, "train", Settings(4.0)) == 3
    assert collect_video(video, data, "train", Settings(4.0)) == 0
    assert collect_video(video, data, "train", Settings(2.0)) == 2
    assert read_sources(data / "train")["start_sec"].tolist() == ["0", "4", "8", "2", "6"]


def test_a_complete_video_is_not_even_opened(video, tmp_path, monkeypatch):
    collect_video(video, tmp_path / "Data", "train", Settings(4.0))
    monkeypatch.setattr(sequences, "open_video", None)
    assert collect_video(video, tmp_path / "Data", "train", Settings(4.0)) == 0


def test_a_truncated_file_is_completed_once_it_is_whole(tmp_path):
    encoding = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "15", "-movflags", "+faststart"]
    path, data = write_video(tmp_path / "v.mp4", "30", 300, *encoding), tmp_path / "Data"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    for _ in range(2):  # the problem is reported each time
        with pytest.raises(UserError, match="truncated at"):
            collect_video(path, data, "train", Settings(1.0))
    some = len(read_sources(data / "train"))
    path.write_bytes(whole)
    assert 0 < some < 10 and collect_video(path, data, "train", Settings(1.0)) == 10 - some
    assert collect_video(path, data, "train", Settings(1.0)) == 0


def test_refused_starts_are_named_and_the_others_are_kept(tmp_path):
    hole = ["-vf", "select='lt(n,45)+gt(n,75)'", "-fps_mode", "passthrough"]
    path = write_video(tmp_path / "v.mp4", "30", 200, "-c:v", "libx264", *hole)
    for _ in range(2):
        with pytest.raises(UserError, match="no sequence at 1 s .*, 2 s .*4 complete sequences"):
            collect_video(path, tmp_path / "Data", "train", Settings(1.0))


def test_a_recording_that_starts_mid_stream_loses_only_its_beginning(tmp_path):
    whole = write_video(tmp_path / "whole.ts", "30", 300, "-c:v", "libx264", "-g", "50")
    data = whole.read_bytes()
    (tmp_path / "late.ts").write_bytes(data[len(data) // 20 // 188 * 188 :])
    with pytest.raises(UserError, match="no sequence at 0 s"):
        collect_video(tmp_path / "late.ts", tmp_path / "Data", "train", Settings(1.0))
    assert len(read_sources(tmp_path / "Data" / "train")) >= 5


def test_a_video_too_short_for_a_sequence_is_named(tmp_path):
    path = write_video(tmp_path / "short.mp4", "30", 20)
    with pytest.raises(UserError, match=r"short.mp4: only 0.67 s long"):
        collect_video(path, tmp_path / "Data", "train")


def test_starts_with_many_digits_are_found_again(video, tmp_path):
    data = tmp_path / "Data"
    added = collect_video(video, data, "train", Settings(1.2345678))
    assert added == 8 and collect_video(video, data, "train", Settings(1.2345678)) == 0
    assert read_sources(data / "train")["start_sec"].iloc[1] == "1.235"


def test_a_removed_sequence_is_made_again_under_a_new_number(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    shutil.rmtree(data / "train" / "sequences" / "seq_00002")
    assert collect_video(video, data, "train", Settings(5.0)) == 1
    assert saved(data, "seq_00003") == on_screen(5.0)


def test_other_columns_of_the_table_are_kept(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    table = data / "train" / "sequences.csv"
    sources = pd.read_csv(table, dtype=str)
    sources.assign(note=["first", "second"]).to_csv(table, index=False)
    collect_video(video, data, "train", Settings(2.5))
    assert pd.read_csv(table)["note"].tolist()[:2] == ["first", "second"]


def test_numbers_go_on_after_the_highest_ever_used(video, tmp_path):
    data = tmp_path / "Data"
    (data / "train" / "sequences" / "seq_00007").mkdir(parents=True)
    (data / "train" / "train.csv").write_text("sequence,label\nseq_00012,1\n")
    collect_video(video, data, "train", Settings(5.0))
    assert read_sources(data / "train")["sequence"].tolist() == ["seq_00013", "seq_00014"]


@pytest.mark.parametrize("name", ["other one, für alle.mp4", "羽毛球 決勝 [1].mp4", "100%.mp4"])
def test_names_of_any_letters_are_kept(video, tmp_path, name):
    data, other = tmp_path / "Daten für mich", tmp_path / name
    shutil.copy(video, other)
    assert collect_video(other, data, "train", Settings(3.0)) == 4
    assert collect_video(other, data, "train", Settings(3.0)) == 0
    assert set(read_sources(data / "train")["video"]) == {str(other)}
    assert saved(data, "seq_00002") == on_screen(3.0)


def test_a_video_inside_the_data_folder_is_named_relative_to_it(tmp_path):
    data = tmp_path / "Data"
    (data / "videos").mkdir(parents=True)
    collect_video(write_video(data / "videos" / "v.mp4", "30", 60), data, "test")
    assert read_sources(data / "test")["video"].tolist() == ["videos/v.mp4"]


def test_a_video_of_one_split_is_refused_in_another(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", Settings(5.0))
    with pytest.raises(UserError, match="already in train"):
        collect_video(video, tmp_path / "Data", "test", Settings(5.0))


def test_a_copy_under_another_name_is_refused_in_another_split_and_known_in_its_own(
    video, tmp_path
):
    data, copy = tmp_path / "Data", tmp_path / "copy.mp4"
    shutil.copy(video, copy)
    collect_video(video, data, "train", Settings(5.0))
    with pytest.raises(UserError, match=f"already in train as {video}"):
        collect_video(copy, data, "test", Settings(5.0))
    assert not read_sources(data / "test").size
    assert collect_video(copy, data, "train", Settings(2.5)) == 2
    assert set(read_sources(data / "train")["video"]) == {str(video)}


def test_a_file_named_by_yt_dlp_keeps_that_address_out_of_other_splits(video, tmp_path):
    data, named = tmp_path / "Data", tmp_path / "Final 2016 [RseCk0mwFE8].mp4"
    shutil.copy(video, named)
    collect_video(named, data, "train", Settings(5.0))
    with pytest.raises(UserError, match="already in train as"):
        collect_video("https://youtu.be/RseCk0mwFE8", data, "test")


def test_videos_with_equal_file_names_are_distinct(video, tmp_path):
    data = tmp_path / "Data"
    for k, name in enumerate(["A [semi-finals].mp4", "B [semi-finals].mp4"]):
        path = write_video(tmp_path / name, "30", 300 + k)
        assert collect_video(path, data, "train", Settings(5.0)) == 2


def test_another_video_under_the_same_name_is_refused(tmp_path):
    data, path = tmp_path / "Data", tmp_path / "match.mp4"
    write_video(path, "30", 300)
    collect_video(path, data, "train", Settings(5.0))
    write_video(path, "30", 400, "-vf", "negate", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    with pytest.raises(UserError, match="already collected from another file of this name; rename"):
        collect_video(path, data, "train", Settings(5.0))
    assert len(read_sources(data / "train")) == 2


@pytest.mark.parametrize("work", [collect_video, plan_video])
def test_the_file_of_a_refused_video_is_closed(video, tmp_path, monkeypatch, work):
    opened = []

    def remembering(path):
        opened.append(open_video(path))
        return opened[-1]

    copy, data = tmp_path / "copy.mp4", tmp_path / "Data"
    shutil.copy(video, copy)
    collect_video(video, data, "train", Settings(5.0))
    for module in (sequences, batch):
        monkeypatch.setattr(module, "open_video", remembering)
    with pytest.raises(UserError, match="already in train"):
        work(copy, data, "test", Settings(5.0))
    [container] = [each.container for each in opened]
    with pytest.raises(AssertionError, match="Container is not open"):
        container.seek(0)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Settings(5.0, fps=15.0), "at 30 frames per second; use the same --fps"),
        (Settings(5.0, 15), "with 30 frames per sequence .*; use the same --seq-frames"),
    ],
)
def test_other_rates_and_lengths_for_the_same_video_are_refused(video, tmp_path, other, what):
    collect_video(video, tmp_path / "Data", "train", Settings(5.0))
    with pytest.raises(UserError, match=f"already collected {what}"):
        collect_video(video, tmp_path / "Data", "train", other)


def test_a_table_that_another_program_saved_is_read_by_its_numbers(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    table = data / "train" / "sequences.csv"
    pd.read_csv(table).astype({"fps": float, "start_sec": float}).to_csv(table, index=False)
    assert "30.0" in table.read_text()
    assert collect_video(video, data, "train", Settings(2.5)) == 2
    table.write_text(table.read_text().replace(",30.0", ",", 1))
    with pytest.raises(UserError, match="fps of seq_00001 is '.*', not a number"):
        collect_video(video, data, "train", Settings(1.0))


def test_desktop_files_among_the_sequences_are_ignored(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    (data / "train" / "sequences" / "Thumbs.db").touch()
    for row in read_sources(data / "train").itertuples():
        (data / "train" / "sequences" / row.sequence / "Thumbs.db").touch()
    assert list_collected(data)[["sequences", "seconds"]].values.tolist() == [[2, 2.0]]
    assert collect_video(video, data, "train", Settings(5.0)) == 0


def test_sequences_of_png_frames_are_recognised_as_the_same_video(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(5.0))
    for path in (data / "train" / "sequences").glob("*/*.jpg"):
        cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    assert collect_video(video, data, "train", Settings(2.5)) == 2


def test_an_unwritable_sequences_folder_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "sequences").write_text("no folder")
    remedy = "cannot write to .*sequences: .*; free some space or give yourself write permission"
    with pytest.raises(UserError, match=remedy):
        recover(tmp_path / "train")
    (tmp_path / "test" / "sequences").mkdir(parents=True)
    (tmp_path / "test" / "sequences" / ".seq_00001.part").write_text("no folder")
    with pytest.raises(UserError, match=remedy):
        publish(tmp_path / "test", read_sources(tmp_path / "test"))


@pytest.mark.alone
def test_after_50_kills_at_random_moments_the_data_is_the_same_as_without(tmp_path):
    video = write_video(tmp_path / "v.mp4", "30", 900)
    command = [
        sys.executable,
        "tests/collection/kill_collecting.py",
        video,
        tmp_path / "killed",
        "50",
    ]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "50\n"
    collect_video(video, tmp_path / "whole", "train", Settings(0.5))
    for data in (tmp_path / "killed").iterdir():
        collect_video(video, data, "train", Settings(0.5))
        assert tree(data) == tree(tmp_path / "whole")


@pytest.mark.parametrize("moment", ["before the table", "before the names"])
def test_a_kill_before_or_after_the_table_is_written_loses_no_listed_sequence(
    video, tmp_path, monkeypatch, moment
):
    def killed(*_):
        raise KeyboardInterrupt

    data = tmp_path / "Data"
    with monkeypatch.context() as patch:
        patch.setattr(sequences, "PUBLISH_SEC", 0.0)
        recover(data / "train")  # it renames folders too, so it runs before the kill
        what = {"before the table": "write_table", "before the names": "_name_folders"}[moment]
        patch.setattr(sequences, "recover", lambda split_dir: read_sources(split_dir))
        patch.setattr(sequences, what, killed)
        with pytest.raises(KeyboardInterrupt):
            collect_video(video, data, "train", Settings(3.0))
    listed = len(read_sources(data / "train"))
    assert listed == (0 if moment == "before the table" else 1)
    recover(data / "train")
    folders = [p.name for p in (data / "train" / "sequences").iterdir() if p.name != ".lock"]
    assert folders == ["seq_00001"][:listed]


def test_frames_are_on_disk_before_the_table_lists_them_and_nothing_else_is_synced(
    video, tmp_path, monkeypatch
):
    data, fsync, write, synced = tmp_path / "Data", os.fsync, sequences.write_table, set()

    def remembering(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checking(path, table):
        folder = data / "train" / "sequences"
        for name in table["sequence"]:
            part = folder / f".{name}.part"
            written = part if part.exists() else folder / name
            for each in (folder, written, *written.iterdir()):
                assert each.stat().st_ino in synced, each
        write(path, table)

    def whole_machine():
        raise AssertionError("every file system is flushed")

    monkeypatch.setattr(sequences, "PUBLISH_SEC", 0.0)
    monkeypatch.setattr(os, "fsync", remembering)
    monkeypatch.setattr(os, "sync", whole_machine)
    monkeypatch.setattr(sequences, "write_table", checking)
    assert collect_video(video, data, "train", Settings(3.0)) == 4


def test_two_collectors_at_once_take_no_number_twice(tmp_path):
    videos = [write_video(tmp_path / f"{k}.mp4", "30", 300 + k) for k in range(2)]
    command = [sys.executable, "collecting_data.py", "--split", "train", "--interval-sec", "1"]
    running = [
        subprocess.Popen([*command, "--data", tmp_path / "Data", video], stderr=subprocess.DEVNULL)
        for video in videos
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    sources = read_sources(tmp_path / "Data" / "train")
    assert sources["sequence"].tolist() == [f"seq_{k:05d}" for k in range(1, 21)]
    assert sources["video"].value_counts().to_dict() == {str(video): 10 for video in videos}


def test_two_collectors_at_once_do_not_put_one_video_into_two_splits(video, tmp_path):
    command = [sys.executable, "collecting_data.py", video, "--interval-sec", "1"]
    running = [
        subprocess.Popen(
            [*command, "--data", tmp_path / "Data", "--split", split],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for split in ("train", "test")
    ]
    assert sorted(process.wait(60) for process in running) == [0, 1]
    counts = sorted(len(read_sources(tmp_path / "Data" / split)) for split in ("train", "test"))
    assert counts == [0, 10]


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_sequence(video, tmp_path, monkeypatch):
    data, write = tmp_path / "Data", Path.write_bytes

    def full(path, content):
        if path.parent.name == ".seq_00002.part" and path.name == "00017.jpg":
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="cannot write seq_00002.*No space left.*again"):
            collect_video(video, data, "train", Settings(3.0))
    assert read_sources(data / "train")["sequence"].tolist() == ["seq_00001"]
    assert sorted(os.listdir(data / "train" / "sequences")) == ["seq_00001"]
    assert collect_video(video, data, "train", Settings(3.0)) == 3


def test_a_folder_that_cannot_be_written_is_one_clear_error(video, tmp_path):
    (tmp_path / "Data").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write to"):
        collect_video(video, tmp_path / "Data", "train")


def test_collected_csv_records_the_size_and_length_of_each_file(video, tmp_path):
    collect_video(video, tmp_path / "Data", "train", Settings(5.0))
    record = read_records(tmp_path / "Data").iloc[0]
    assert record["bytes"] == str(video.stat().st_size) and record["duration_sec"] == "10.000"


def test_the_list_counts_sequences_and_labels(video, tmp_path):
    data = tmp_path / "Data"
    collect_video(video, data, "train", Settings(3.0))
    (data / "train" / "train.csv").write_text("sequence,label\nseq_00001,1\nseq_00002,\n")
    (data / "test" / "sequences" / "seq_00001").mkdir(parents=True)
    for k in range(30):
        (data / "test" / "sequences" / "seq_00001" / f"{k}.jpg").touch()
    rows = json.loads(list_collected(data).to_json(orient="values"))
    assert rows == [[str(video), "train", 4, 1, 4.0], ["(not recorded)", "test", 1, 0, 1.0]]


def test_10000_existing_sequences_do_not_slow_it_down(video, tmp_path):
    data = tmp_path / "Data"
    folder = data / "train" / "sequences"
    folder.mkdir(parents=True)
    rows = []
    for k in range(1, 10_001):
        (folder / f"seq_{k:05d}").mkdir()
        rows.append([f"seq_{k:05d}", f"{k // 100}.mp4", str(k % 100 * 30), "30"])
    columns = ["sequence", "video", "start_sec", "fps"]
    pd.DataFrame(rows, columns=columns).to_csv(data / "train" / "sequences.csv", index=False)
    began = time.monotonic()
    assert collect_video(video, data, "train", Settings(9.0)) == 2
    assert time.monotonic() - began < 15  # 0.3 s on two cores; the benchmark measures it
    assert read_sources(data / "train")["sequence"].tolist()[-1] == "seq_10002"
