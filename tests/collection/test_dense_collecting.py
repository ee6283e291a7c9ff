"""collecting_data.py --dense: sequences where the marks of a match say, labelled from its marks."""

import pandas as pd
import pytest
from media_server import media_server, stand_in

import labeling
from annotation.ground_truth import inside_sec, read_truth
from collecting_data import main
from collection import downloading, sequences
from collection.sources import read_sources
from conftest import write_video
from files import labels_path
from sample.match import draw_match

ONE, TWO = "AAAAAAAAAAA", "BBBBBBBBBBB"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "Data"
    folder.mkdir()
    return folder


def write_spans(data, folder, name, *spans):
    (data / folder).mkdir(exist_ok=True)
    rows = "".join(f"{start},{end}\n" for start, end in spans)
    (data / folder / f"{name}.csv").write_text("start_sec,end_sec\n" + rows)
    return data / folder / f"{name}.csv"


def collect(data, *arguments, dense=2):
    return main([*map(str, arguments), "--data", str(data), "--dense", str(dense)])


def starts(data, split="train"):
    return sorted(read_sources(data / split)["start_sec"].astype(float))


def test_a_drawn_match_collected_densely_is_labelled_completely_from_its_marks(tmp_path, capsys):
    """SYNTHETIC: 60 s drawn by sample.match."""
    data, video = tmp_path, tmp_path / "final.mp4"
    draw_match(video, seed=11, duration_sec=60, fps=25)
    (data / "matches").mkdir()
    video.with_suffix(".csv").rename(data / "matches" / "final.csv")
    write_spans(data, "unknown", "final", (0, 1.5), (36, 45))
    assert collect(data, video, "--split", "train") == 0
    assert f"next: python labeling.py --from-match --split train --data {data}\n" in (
        capsys.readouterr().out
    )
    truth = read_truth(data / "matches" / "final.csv")
    edges = [edge for rally in truth.rallies for edge in rally]
    assert labeling.main(["--from-match", "--data", str(data)]) == 0
    labels = pd.read_csv(labels_path(data / "train")).set_index("sequence")["label"]
    rows = read_sources(data / "train").set_index("sequence")["start_sec"].astype(float)
    assert set(labels.index) == set(rows.index)
    for sequence, start in rows.items():
        assert inside_sec(start, start + 1, truth.unknown) == 0
        assert labels[sequence] == (inside_sec(start, start + 1, truth.rallies) >= 0.5)
    near = {name: start for name, start in rows.items() if start % 4}
    across = [name for name, start in near.items() if any(start < e < start + 1 for e in edges)]
    assert len(near) == len(rows) - len(near) >= 10
    assert all(any(start - 1 < e < start + 2 for e in edges) for start in near.values())
    assert len(across) >= 3 and set(labels[across]) == {0, 1}
    assert 0.25 < labels[list(near)].mean() < 0.75


def test_a_finished_video_is_skipped_until_its_marks_change(video, data, monkeypatch):
    marks = write_spans(data, "matches", "match", (3.2, 6.1))
    assert collect(data, video, "--split", "train", dense=1) == 0
    before = starts(data)
    assert [start for start in before if start % 2 == 0] == [0, 2, 4, 6, 8]

    def never(path):
        raise AssertionError("a finished video is opened")

    with monkeypatch.context() as patch:
        patch.setattr(sequences, "open_video", never)
        assert collect(data, video, "--split", "train", dense=1) == 0
    assert starts(data) == before
    write_spans(data, "matches", marks.stem, (3.2, 7.4))
    assert collect(data, video, "--split", "train", dense=1) == 0
    assert set(before) < set(starts(data))


def test_sequences_at_other_starts_are_kept_and_shared_ones_are_not_made_again(video, data):
    write_spans(data, "matches", "match", (3.2, 6.1))
    assert main([str(video), "--split", "train", "--data", str(data), "--interval-sec", "3"]) == 0
    assert starts(data) == [0, 3, 6, 9]
    assert collect(data, video, "--split", "train") == 0
    assert set(starts(data)) > {0, 3, 4, 6, 8, 9}
    assert len(starts(data)) == len(set(starts(data))) == 9


def test_start_and_end_limit_the_starts(video, data):
    write_spans(data, "matches", "match", (1.0, 2.5), (5, 9))
    limits = ["--start-sec", "4.5", "--end-sec", "8.75"]
    assert collect(data, video, "--split", "train", *limits) == 0
    assert 4.5 in starts(data) and len(starts(data)) == 2
    assert all(4.5 <= start <= 7.75 for start in starts(data))


def test_a_dry_run_counts_the_starts_and_writes_nothing(video, data, capsys):
    write_spans(data, "matches", "match", (3.2, 6.1))
    before = sorted(data.rglob("*"))
    assert collect(data, video, "--split", "train", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[2:4] == ["6", "0"]
    assert sorted(data.rglob("*")) == before
    collect(data, video, "--split", "train")
    capsys.readouterr()
    assert collect(data, video, "--split", "train", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[2:4] == ["0", "6"]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_video_without_marks_is_an_error_with_the_remedy_and_stops_no_other(
    video, data, capsys, dry_run
):
    other = write_video(data / "other.mp4", "25", 250)
    write_spans(data, "matches", "match", (3.2, 6.1))
    assert collect(data, other, video, "--split", "train", *dry_run) == 1
    bad, good = capsys.readouterr().out.splitlines()[1:3]
    assert f"--dense needs marks, and there is no {data / 'matches' / 'other.csv'}" in bad
    assert "labeling.py --match VIDEO" in bad and "labeling.py --import FOLDER" in bad
    assert good.split()[2] == "6"
    assert len(read_sources(data / "train")) == (0 if dry_run else 6)


def test_an_address_without_marks_is_not_downloaded_and_one_with_marks_is(video, data, monkeypatch):
    write_spans(data, "matches", ONE, (3.2, 6.1))
    with media_server(video.read_bytes()) as server:
        youtube = stand_in({ONE: [server.offer()], TWO: [server.offer()]}, length_sec=10)
        monkeypatch.setattr("pytubefix.YouTube", youtube)
        monkeypatch.setattr(downloading, "WAITS_SEC", (0, 0, 0))
        assert collect(data, f"youtu.be/{TWO}", f"youtu.be/{ONE}", "--split", "train") == 1
    assert [path.name for path in (data / "videos").glob("*.mp4")] == [f"{ONE}.mp4"]
    assert len(starts(data)) == 6


def test_marks_of_another_file_of_the_same_name_are_refused(video, data, capsys):
    write_video(data / "match.mp4", "25", 250)
    write_spans(data, "matches", "match", (3.2, 6.1))
    assert collect(data, video, data / "match.mp4", "--split", "train") == 1
    assert capsys.readouterr().err.count("could belong to any of") == 2
    (data / "marked.csv").write_text("name,video\nmatch,match.mp4\n")
    assert collect(data, video, data / "match.mp4", "--split", "train") == 1
    assert "holds the marks of match.mp4, not of" in capsys.readouterr().err
    assert set(read_sources(data / "train")["video"]) == {"match.mp4"}


def test_a_match_of_which_nothing_is_known_says_so(video, data, capsys):
    write_spans(data, "matches", "match")
    write_spans(data, "unknown", "match", (0, 10))
    assert collect(data, video, "--split", "train") == 1
    assert "--start-sec, --end-sec and unknown stretches leave too little" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "wrong", [["--interval-sec", "30"], ["--dense", "0"], ["--dense", "often"]]
)
def test_wrong_use_of_dense_ends_with_exit_code_2(video, data, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        collect(data, video, "--split", "train", *wrong)
    assert caught.value.code == 2
    assert "--dense" in capsys.readouterr().err.splitlines()[-1]
    assert not list(data.iterdir())
