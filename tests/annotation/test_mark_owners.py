"""Which video a table of marks belongs to, even if files were moved or share a name."""

import threading

import pytest

from annotation.mark_owners import claim_table, marked_videos, read_owners, tables_by_video
from annotation.match_marks import marks_path
from files import UserError, read_table


def video_at(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_claimed_name_is_noted_with_its_video(tmp_path):
    data = tmp_path / "Data"
    inside, outside = video_at(data / "videos" / "final, 1.mp4"), video_at(tmp_path / "semi.mp4")
    assert claim_table(data, inside) == marks_path(data, "final, 1")
    assert claim_table(data, outside) == marks_path(data, "semi")
    assert marked_videos(data) == {"final, 1": "videos/final, 1.mp4", "semi": str(outside)}
    table = read_table(data / "marked.csv", ("name", "video"))
    assert table["name"].tolist() == ["final, 1", "semi"]


def test_claiming_again_changes_nothing(tmp_path):
    data, video = tmp_path / "Data", video_at(tmp_path / "final.mp4")
    claim_table(data, video)
    before = (data / "marked.csv").stat().st_mtime_ns
    assert claim_table(data, video) == marks_path(data, "final")
    assert (data / "marked.csv").stat().st_mtime_ns == before


def test_extra_columns_of_marked_csv_are_kept(tmp_path):
    data, video = tmp_path / "Data", video_at(tmp_path / "final.mp4")
    data.mkdir()
    (data / "marked.csv").write_text("name,video,by\nfinal,videos/final.mp4,Ann\nsemi,s.mp4,Bo\n")
    claim_table(data, video)
    claim_table(data, video_at(data / "third.mp4"))
    assert (data / "marked.csv").read_text().splitlines() == [
        "name,video,by",
        f"final,{video},Ann",
        "semi,s.mp4,Bo",
        "third,third.mp4,",
    ]


def test_without_a_note_a_table_belongs_to_the_video_of_its_name(tmp_path):
    owners = read_owners(tmp_path).with_owner("videos/final.mp4")
    assert owners.video_by_table == {"final": "videos/final.mp4"}


def test_another_file_of_the_same_name_is_refused_while_the_first_exists(tmp_path):
    data = tmp_path / "Data"
    first = video_at(data / "videos" / "final.mp4")
    others = video_at(tmp_path / "final.mp4"), video_at(data / "videos" / "final.mkv")
    claim_table(data, first)
    for other in others:
        with pytest.raises(UserError, match=r"final.csv holds the marks of videos/final.mp4"):
            claim_table(data, other)
    assert marked_videos(data) == {"final": "videos/final.mp4"}


def test_a_file_that_was_moved_keeps_its_marks(tmp_path):
    data = tmp_path / "Data"
    first = video_at(tmp_path / "final.mp4")
    claim_table(data, first)
    moved = data / "videos" / "final.mp4"
    moved.parent.mkdir()
    first.rename(moved)
    assert claim_table(data, moved) == marks_path(data, "final")
    assert marked_videos(data) == {"final": "videos/final.mp4"}


def test_two_copies_of_one_youtube_video_share_their_marks(tmp_path):
    data = tmp_path / "Data"
    first = video_at(data / "videos" / "RseCk0mwFE8.mp4")
    second = video_at(tmp_path / "Final [RseCk0mwFE8].mp4")
    assert claim_table(data, first) == claim_table(data, second)
    assert claim_table(data, first).name == "RseCk0mwFE8.csv"


def test_names_claimed_at_the_same_time_are_all_noted(tmp_path):
    data = tmp_path / "Data"
    videos = [video_at(tmp_path / f"{k}.mp4") for k in range(8)]
    threads = [threading.Thread(target=claim_table, args=(data, video)) for video in videos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marked_videos(data) == {video.stem: str(video) for video in videos}


def note(data, **videos):
    lines = "".join(f"{name},{video}\n" for name, video in videos.items())
    data.mkdir(parents=True, exist_ok=True)
    (data / "marked.csv").write_text("name,video\n" + lines)


def mark(data, *names):
    for name in names:
        marks_path(data, name).parent.mkdir(parents=True, exist_ok=True)
        marks_path(data, name).write_text("start_sec,end_sec\n1,2\n")
        marks_path(data, name).with_suffix(".log.csv").touch()


def test_a_table_belongs_to_the_only_video_of_its_name(tmp_path):
    owners = read_owners(tmp_path)
    assert owners.owner_among("final", ["a/final.mp4", "a/semi.mp4"]) == "a/final.mp4"
    assert owners.owner_among("final", ["a/semi.mp4"]) is None


def test_a_table_that_could_belong_to_two_videos_is_refused_unless_noted(tmp_path):
    videos = ["b/final.mp4", "a/final.mp4"]
    with pytest.raises(
        UserError, match="final.csv could belong to any of a/final.mp4, b/final.mp4; open"
    ):
        read_owners(tmp_path).owner_among("final", videos)
    note(tmp_path, final="b/final.mp4")
    assert read_owners(tmp_path).owner_among("final", videos) == "b/final.mp4"


def test_an_absolute_note_equals_one_relative_to_the_data_folder(tmp_path):
    video_at(tmp_path / "a" / "final.mp4")
    note(tmp_path, final=tmp_path / "a" / "final.mp4")
    assert read_owners(tmp_path).owner_among("final", ["a/final.mp4"]) == "a/final.mp4"


def test_marks_of_an_existing_file_belong_to_no_other_existing_file(tmp_path):
    video_at(tmp_path / "a" / "final.mp4")
    video_at(tmp_path / "b" / "final.mp4")
    note(tmp_path, final="b/final.mp4")
    assert read_owners(tmp_path).owner_among("final", ["a/final.mp4"]) is None
    (tmp_path / "b" / "final.mp4").unlink()
    assert read_owners(tmp_path).owner_among("final", ["a/final.mp4"]) == "a/final.mp4"


@pytest.mark.parametrize(("size", "owner"), [("4", "final.mp4"), ("", "final.mp4"), ("5", None)])
def test_a_moved_collected_file_is_recognised_by_its_size(tmp_path, size, owner):
    video_at(tmp_path / "videos" / "final.mp4").write_bytes(b"film")
    note(tmp_path, final="videos/final.mp4")
    columns = "split,video,bytes,sha256,duration_sec"
    (tmp_path / "collected.csv").write_text(f"{columns}\ntrain,final.mp4,{size},,9\n")
    assert read_owners(tmp_path).owner_among("final", ["final.mp4"]) == owner


def test_detection_finds_the_marks_of_a_moved_video(tmp_path):
    mark(tmp_path, "final", "semi")
    video_at(tmp_path / "videos" / "final.mp4")
    note(tmp_path, final="final.mp4")  # its path when it was marked
    tables = tables_by_video(tmp_path, ["videos/final.mp4", "other.mp4"])
    assert tables == {"videos/final.mp4": marks_path(tmp_path, "final")}
