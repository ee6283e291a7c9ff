import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from media_server import media_server, stand_in

from collecting_data import main
from collection import downloading
from collection.sources import read_sources
from collection.video_index import read_splits
from conftest import write_video
from files import UserError

ONE, TWO = "AAAAAAAAAAA", "BBBBBBBBBBB"
ADDRESS = f"https://www.youtube.com/watch?v={ONE}"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "Data"
    folder.mkdir()
    return folder


@pytest.fixture
def server(video):
    with media_server(video.read_bytes()) as server:
        yield server


def youtube_answers(monkeypatch, answers):
    """Replaces pytubefix.YouTube by one that gives these answers; returns its class."""
    monkeypatch.setattr(downloading, "WAITS_SEC", (0, 0, 0))
    youtube = stand_in(answers, length_sec=10)
    monkeypatch.setattr("pytubefix.YouTube", youtube)
    return youtube


def collect(data, *arguments):
    return main([*map(str, arguments), "--data", str(data), "--interval-sec", "2"])


def test_an_address_becomes_sequences_of_that_video(data, server, monkeypatch, video):
    answers = [server.offer("404 late"), server.offer("403"), server.offer()]
    youtube_answers(monkeypatch, {ONE: answers})
    assert collect(data, f"https://youtu.be/{ONE}?t=5", "--split", "train") == 0
    sources = read_sources(data / "train")
    assert sources["start_sec"].tolist() == ["0", "2", "4", "6", "8"]
    assert set(sources["video"]) == {ADDRESS}
    assert (data / "videos" / f"{ONE}.mp4").read_bytes() == video.read_bytes()


def test_a_finished_video_is_not_requested_again_under_any_form_of_its_address(
    data, server, monkeypatch
):
    youtube = youtube_answers(monkeypatch, {ONE: [server.offer()]})
    forms = [ADDRESS, f"https://youtu.be/{ONE}", f"youtube.com/shorts/{ONE}", f"{ADDRESS}&t=9"]
    for form in forms:
        assert collect(data, form, "--split", "train") == 0
    assert len(youtube.made) == 1 and len(read_sources(data / "train")) == 5
    for form in forms:
        assert collect(data, form, "--split", "test") == 1
    assert len(youtube.made) == 1 and len(read_sources(data / "test")) == 0


def test_a_deleted_download_is_not_downloaded_again(data, server, monkeypatch):
    youtube = youtube_answers(monkeypatch, {ONE: [server.offer()]})
    for _ in range(2):
        assert collect(data, ADDRESS, "--split", "train", "--no-keep-video") == 0
        assert not list((data / "videos").glob("*.mp4"))
    assert len(youtube.made) == 1


def test_a_file_in_the_downloads_folder_is_used_for_its_address(data, video, monkeypatch):
    youtube = youtube_answers(monkeypatch, {})
    (data / "videos").mkdir()
    video.rename(data / "videos" / f"{ONE}.mp4")
    assert collect(data, ADDRESS, "--split", "train") == 0
    assert not youtube.made and set(read_sources(data / "train")["video"]) == {ADDRESS}


def test_each_line_of_videos_csv_goes_into_its_split_and_a_bad_one_stops_no_other(
    data, server, monkeypatch, capsys
):
    youtube_answers(monkeypatch, {ONE: [server.offer("403")], TWO: [server.offer()]})
    write_video(data / "my match.mp4", "25", 250)
    table = [("train", ADDRESS), ("train", "missing.mp4"), ("test", "my match.mp4")]
    table += [("validation", f"https://youtu.be/{TWO}")]
    pd.DataFrame(table, columns=["split", "video"]).to_csv(data / "videos.csv", index=False)
    assert collect(data) == 1
    printed = capsys.readouterr()
    splits = ("train ", "validation ", "test ")
    rows = [line.strip() for line in printed.out.splitlines()]
    rows = [line for line in rows if line.startswith(splits)]
    assert [row.split()[0] for row in rows] == ["train", "train", "test", "validation"]
    assert "YouTube refuses the download" in rows[0]
    assert "missing.mp4: no such file" in rows[1]
    assert rows[2].endswith("5 complete") and rows[3].endswith("5 complete")
    assert printed.err.count("error: ") == 2
    assert read_sources(data / "test")["video"].tolist() == ["my match.mp4"] * 5
    assert collect(data, "--split", "test") == 0


def test_a_list_with_one_video_in_two_splits_is_refused_before_any_download(data, monkeypatch):
    youtube = youtube_answers(monkeypatch, {})
    (data / "videos.csv").write_text(
        f"split,video\ntrain,{ADDRESS}\ntest,https://youtu.be/{ONE}\nall,x.mp4\n"
    )
    with pytest.raises(UserError) as caught:
        collect(data)
    assert "in both train and test" in str(caught.value)
    assert "x.mp4: no such split: 'all'; use one of train, validation, test" in str(caught.value)
    assert not youtube.made


def test_lines_without_a_video_are_an_error_in_collecting_and_ignored_elsewhere(data):
    (data / "videos.csv").write_text("split,video\ntrain,\ntrain,final.mp4\ntest,\n")
    with pytest.raises(UserError) as caught:
        collect(data)
    assert str(caught.value).split("\n  - ")[1:] == [
        f"a line with split '{split}' has no video: add one, or delete the line"
        for split in ("train", "test")
    ]
    assert read_splits(data).split_by_key == {"final.mp4": "train"}


def test_an_empty_video_list_is_an_error(data):
    (data / "videos.csv").write_text("split,video\n")
    with pytest.raises(UserError, match="videos.csv lists no video"):
        collect(data)
    with pytest.raises(UserError, match="lists no video for test"):
        collect(data, "--split", "test")


def test_a_bad_playlist_does_not_stop_the_other_videos(data, video, monkeypatch, capsys):
    def fails(*_):
        raise KeyError("contents")

    monkeypatch.setattr("pytubefix.Playlist", fails)
    playlist = "https://www.youtube.com/playlist?list=PL1"
    assert collect(data, playlist, video, "--split", "train") == 1
    assert len(read_sources(data / "train")) == 5
    assert "no longer understands YouTube" in capsys.readouterr().out


def test_a_file_put_into_the_downloads_by_hand_is_never_deleted(data, video, monkeypatch):
    youtube_answers(monkeypatch, {})
    (data / "videos").mkdir()
    for number, name in enumerate([f"{ONE}.mp4", f"Final [{TWO}].mp4"]):
        write_video(data / "videos" / name, "30", 300 + number)
    for each in (ONE, TWO):
        assert collect(data, f"youtu.be/{each}", "--split", "train", "--no-keep-video") == 0
    assert len(list((data / "videos").glob("*.mp4"))) == 2
    assert len(read_sources(data / "train")) == 10


def test_a_copy_counts_only_the_sequences_that_it_added(data, video, tmp_path, capsys):
    collect(data, video, "--split", "train")
    shutil.copy(video, tmp_path / "copy.mp4")
    capsys.readouterr()
    more = [tmp_path / "copy.mp4", "--split", "train", "--interval-sec", "1"]
    for arguments in ([*more, "--dry-run"], more):
        assert main([*map(str, arguments), "--data", str(data)]) == 0
    planned, done = capsys.readouterr().out.split("MB needed;")
    assert planned.splitlines()[1].split()[2:4] == ["5", "5"]
    assert "train: 5 sequences added, 10 in all" in done


def test_without_videos_and_videos_csv_the_error_says_what_to_write(data):
    with pytest.raises(
        UserError, match="no such file: .*videos.csv; create it with the first line split,video"
    ):
        collect(data)


def test_the_shipped_videos_csv_lists_the_original_study():
    rows = pd.read_csv("Data/videos.csv")
    assert rows["split"].value_counts().to_dict() == {"train": 5, "validation": 2, "test": 1}
    assert rows["video"].str.fullmatch(r"https://www\.youtube\.com/watch\?v=[\w-]{11}").all()


def test_a_playlist_adds_its_videos(data, server, monkeypatch):
    class Playlist:
        def __init__(self, url):
            self.video_urls = [f"https://youtube.com/watch?v={each}" for each in (ONE, TWO)]

    youtube_answers(monkeypatch, {ONE: [server.offer()], TWO: [KeyError("videoDetails")]})
    monkeypatch.setattr("pytubefix.Playlist", Playlist)
    assert collect(data, "https://www.youtube.com/playlist?list=PL1", "--split", "train") == 1
    assert set(read_sources(data / "train")["video"]) == {ADDRESS}


def test_a_dry_run_prints_the_amount_and_writes_nothing(data, server, monkeypatch, video, capsys):
    youtube_answers(monkeypatch, {ONE: [server.offer(size=250_000_000)]})
    assert collect(data, ADDRESS, video, "--split", "train", "--dry-run") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == [
        "split",
        "video",
        "to",
        "make",
        "collected",
        "MB",
        "download",
        "MB",
        "result",
    ]
    assert printed[1].split() == ["train", ADDRESS, "5", "0", "1", "250"]
    assert printed[2].split() == ["train", str(video), "5", "0", "1", "0"]
    assert printed[3].startswith("about 252 MB needed; ")
    assert list(data.iterdir()) == []


def test_the_named_client_is_used(data, server, monkeypatch):
    youtube = youtube_answers(monkeypatch, {ONE: [server.offer()]})
    assert collect(data, ADDRESS, "--split", "train", "--client", "WEB") == 0
    assert youtube.made[0].client == "WEB"


def run(*arguments, **options):
    command = [sys.executable, "collecting_data.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_bad_files_get_a_line_each_and_do_not_stop_the_others(video, tmp_path, data):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    encoding = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "15", "-movflags", "+faststart"]
    whole = write_video(tmp_path / "whole.mp4", "30", 300, *encoding).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * 0.6)])
    short = write_video(tmp_path / "short.mp4", "30", 20)
    bad = [tmp_path / "missing.mp4", tmp_path / "text.mp4", tmp_path / "empty.mp4", cut, short]
    told = run(*bad, video, "--split", "train", "--interval-sec", "2", "--data", data)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    for line in [
        "missing.mp4: no such file",
        "text.mp4: not a readable video",
        "empty.mp4: not a readable video",
        "cut.mp4: truncated at",
        "short.mp4: only 0.67 s long",
    ]:
        assert line in told.stderr and line in told.stdout
    sources = read_sources(data / "train")
    assert (sources["video"] == str(video)).sum() == 5
    assert 1 <= (sources["video"] == str(cut)).sum() < 5


def test_good_files_end_with_exit_code_0_a_count_and_what_to_do_next(video, data):
    told = run(video, "--split", "train", "--interval-sec", "2", "--data", data)
    assert told.returncode == 0
    assert "train: 5 sequences added, 5 in all\n" in told.stdout
    assert f"next: python labeling.py --split train --data {data}\n" in told.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ["--split", "train", "--interval-sec", "0"],
        ["--split", "train", "--fps", "fast"],
        ["--split", "train", "--fps", "0"],
        ["--split", "train", "--seq-frames", "-1"],
        ["--split", "train", "--start-sec", "9", "--end-sec", "8"],
        ["--split", "all"],
        [],
    ],
)
def test_wrong_use_ends_with_exit_code_2(video, tmp_path, wrong):
    told = run(video, "--data", tmp_path / "Data", *wrong)
    assert told.returncode == 2 and "usage" in told.stderr
    assert not (tmp_path / "Data").exists()


def restore_ctrl_c():
    """Restores Ctrl-C, which a shell turns off for background processes such as these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_keeps_finished_sequences_and_the_next_run_resumes(tmp_path, data):
    video = write_video(tmp_path / "long.mp4", "30", 1000)
    command = [sys.executable, "collecting_data.py", video, "--split", "train", "--data", data]
    command += ["--interval-sec", "0.1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=restore_ctrl_c)
    until = time.monotonic() + 60
    while not list(data.glob("train/sequences/seq_00010")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1].decode()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    some = len(read_sources(data / "train"))
    assert 10 <= some < 324
    assert len(list(data.glob("train/sequences/seq_*"))) == some
    assert main([str(video), "--split", "train", "--data", str(data), "--interval-sec", "0.1"]) == 0
    assert len(read_sources(data / "train")) == 324


def test_list_shows_what_has_been_collected(video, data, capsys):
    assert main(["--list", "--data", str(data)]) == 0
    assert capsys.readouterr().out == f"nothing collected in {data} yet\n"
    collect(data, video, "--split", "validation")
    capsys.readouterr()
    main(["--list", "--data", str(data)])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["video", "split", "sequences", "labelled", "seconds"]
    assert row.split() == [str(video), "validation", "5", "0", "5.0"]
