import shutil

import numpy as np
import pytest

from annotation import labels_from_marks
from annotation.change_log import log_path, read_changes
from annotation.ground_truth import inside_sec, unknown_path
from annotation.labels import Answer, read_labels, save_labels, undo
from annotation.labels_from_marks import (
    MatchLabels,
    label_from_matches,
    label_of,
    unknown_sequences,
)
from annotation.match_marks import marks_path, match_name, read_marks, save_marks
from annotation.split_check import check_split
from collection.sources import watch_address
from files import UserError, labels_path

ADDRESS = watch_address("RseCk0mwFE8")


def collect(data, video, starts, split="train", frames=30, fps="30"):
    """Writes sequences of empty frames from these seconds of a video; returns their names."""
    table = data / split / "sequences.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = table.read_text().splitlines() if table.exists() else ["sequence,video,start_sec,fps"]
    names = [f"seq_{len(rows) + k:05d}" for k in range(len(starts))]
    for name, start in zip(names, starts, strict=True):
        folder = data / split / "sequences" / name
        folder.mkdir(parents=True)
        for k in range(frames):
            (folder / f"{k + 1:05d}.jpg").touch()
        rows.append(f"{name},{video},{start},{fps}")
    table.write_text("\n".join(rows) + "\n")
    return names


def mark(data, name, *marks):
    """Replaces the marks of a match."""
    path = marks_path(data, name)
    save_marks(path, list(marks), read_marks(path), 10_000)


def mark_unknown(data, name, *stretches):
    """Replaces the unknown stretches of a match."""
    path = unknown_path(marks_path(data, name))
    save_marks(path, list(stretches), read_marks(path), 10_000)


def own(data, **videos):
    lines = "".join(f"{name},{video}\n" for name, video in videos.items())
    (data / "marked.csv").write_text("name,video\n" + lines)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "Data").mkdir()
    return tmp_path / "Data"


def test_time_inside_rallies_agrees_with_counting_milliseconds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = np.sort(rng.choice(5000, 8, replace=False))
        marks = [(int(s) / 1000, int(e) / 1000) for s, e in edges.reshape(4, 2)]
        start = int(rng.integers(0, 4000))
        clock = np.arange(start, start + 1000)
        counted = sum(int(((clock >= s) & (clock < e)).sum()) for s, e in edges.reshape(4, 2))
        assert inside_sec(start / 1000, start / 1000 + 1, marks) == pytest.approx(counted / 1000)
        if counted != 500:
            assert label_of(start / 1000, start / 1000 + 1, marks) == (counted > 500)


@pytest.mark.parametrize(
    ("mark", "label"),
    [((10.5, 20), 1), ((10.501, 20), 0), ((0, 10.5), 1), ((0, 10.499), 0), ((10.25, 10.75), 1)],
)
def test_half_a_sequence_in_a_rally_is_enough_and_less_is_not(mark, label):
    assert label_of(10, 11, [mark]) == label


def test_half_is_enough_despite_rounding():
    for ms in range(0, 2_000_000, 1234):
        start, half = ms / 1000, (ms + 600) / 1000  # half of 30 frames at 25 fps is 0.6 s
        assert label_of(start, start + 30 / 25, [(half, half + 9)]) == 1, start
        assert label_of(start, start + 30 / 25, [(half + 0.001, half + 9)]) == 0, start


def test_two_pieces_of_rallies_count_together():
    assert label_of(10, 11, [(9, 10.25), (10.75, 12)]) == 1
    assert label_of(10, 11, [(9, 10.25), (10.76, 12)]) == 0


def test_sequences_inside_rallies_get_label_1(root):
    names = collect(root, "final.mp4", ["0", "9.5", "10.501", "15", "19.4", "20", "30"])
    mark(root, "final", (10, 20))
    [found] = label_from_matches(root)
    assert read_labels(root / "train") == dict(zip(names, "0111100", strict=True))
    assert found == MatchLabels(
        "train", "final", rallies=1, labelled=7, after_last=2, straddling=[names[1], names[4]]
    )


def test_sequences_that_touch_an_edge_do_not_straddle_it(root):
    collect(root, "final.mp4", ["9", "10", "19", "20"])
    mark(root, "final", (10, 20))
    assert label_from_matches(root)[0].straddling == []
    assert list(read_labels(root / "train").values()) == ["0", "1", "1", "0"]


def test_a_sequence_that_touches_an_unknown_stretch_gets_no_label_and_is_listed(root):
    names = collect(root, "final.mp4", ["0", "29", "29.002", "35", "39.998", "40", "41"])
    mark(root, "final", (10, 20), (41, 50))
    mark_unknown(root, "final", (30, 40))
    [found] = label_from_matches(root)
    assert found.unknown == names[2:5]
    assert read_labels(root / "train") == dict(zip([*names[:2], *names[5:]], "0001", strict=True))


def test_sequences_of_unknown_stretches_need_no_label(root):
    """Else nobody could train on what was labelled from marks."""
    names = collect(root, "final.mp4", ["0", "12", "31", "33"])
    mark(root, "final", (10, 20))
    mark_unknown(root, "final", (30, 40))
    label_from_matches(root)
    assert unknown_sequences(root / "train") == set(names[2:])
    told = check_split(root / "train", 30, allow_unlabelled=False, deep=False).problems
    assert not any("without a label" in problem for problem in told)
    mark_unknown(root, "final", (32.5, 40))
    told = check_split(root / "train", 30, allow_unlabelled=False, deep=False).problems
    assert any("without a label" in problem and names[2] in problem for problem in told)


def test_a_rally_inside_an_unknown_stretch_is_known(root):
    names = collect(root, "final.mp4", ["30", "35", "44"])
    mark(root, "final", (34, 38))
    mark_unknown(root, "final", (30, 45))
    [found] = label_from_matches(root)
    assert read_labels(root / "train") == {names[1]: "1"}
    assert found.unknown == [names[0], names[2]]


def test_a_label_from_marks_is_removed_where_nothing_is_known_any_more(root):
    names = collect(root, "final.mp4", ["0", "12", "31"])
    mark(root, "final", (10, 20))
    label_from_matches(root)
    mark_unknown(root, "final", (30, 40))
    [found] = label_from_matches(root)
    assert (found.taken_back, found.unknown) == (1, names[2:])
    assert read_labels(root / "train") == dict(zip(names[:2], "01", strict=True))


def test_a_manual_label_in_an_unknown_stretch_is_kept(root):
    names = collect(root, "final.mp4", ["12", "31"])
    save_labels(root / "train", [Answer(names[1], "1", "")])
    mark(root, "final", (10, 20))
    mark_unknown(root, "final", (30, 40))
    [found] = label_from_matches(root)
    assert (found.kept, found.unknown) == (1, [])
    assert read_labels(root / "train") == dict.fromkeys(names, "1")


def test_a_manual_label_is_kept_and_listed_if_it_differs(root):
    names = collect(root, "final.mp4", ["0", "12", "14"])
    save_labels(root / "train", [Answer(names[0], "1", ""), Answer(names[1], "1", "")])
    mark(root, "final", (10, 20))
    [found] = label_from_matches(root)
    assert (found.kept, found.differing, found.labelled) == (2, [names[0]], 1)
    assert read_labels(root / "train") == dict.fromkeys(names, "1")


def test_a_label_from_another_program_counts_as_manual(root):
    names = collect(root, "final.mp4", ["0"])
    (root / "train" / "train.csv").write_text(f"sequence,label\n{names[0]},1.0\n")
    mark(root, "final", (10, 20))
    [found] = label_from_matches(root)
    assert (found.kept, found.differing) == (1, names)
    assert read_labels(root / "train") == {names[0]: "1"}


def test_labels_from_marks_change_with_the_marks(root):
    names = collect(root, "final.mp4", ["0", "12"])
    mark(root, "final", (10, 20))
    label_from_matches(root)
    mark(root, "final", (0, 5))
    [found] = label_from_matches(root)
    assert read_labels(root / "train") == dict(zip(names, "10", strict=True))
    assert (found.labelled, found.kept) == (2, 0)


def test_labelling_again_writes_nothing(root):
    collect(root, "final.mp4", ["0", "12"])
    mark(root, "final", (10, 20))
    first = label_from_matches(root)
    log = log_path(labels_path(root / "train"))
    before = log.read_bytes()
    assert label_from_matches(root) == first
    assert log.read_bytes() == before
    assert {change.what for change in read_changes(log)} == {"marks"}


def test_a_label_from_marks_that_a_person_confirms_is_manual_until_undone(root):
    names = collect(root, "final.mp4", ["12", "14"])
    mark(root, "final", (10, 20))
    label_from_matches(root)
    time, _ = save_labels(root / "train", [Answer(names[0], "1", "1")])
    mark(root, "final", (30, 40))
    [found] = label_from_matches(root)
    assert (found.kept, found.differing) == (1, names[:1])
    assert read_labels(root / "train") == dict(zip(names, "10", strict=True))
    assert undo(root / "train", time) == [(names[0], "1", True)]
    assert label_from_matches(root)[0].kept == 0
    assert read_labels(root / "train") == dict.fromkeys(names, "0")


def test_a_label_from_marks_that_a_person_changed_is_manual(root):
    names = collect(root, "final.mp4", ["12"])
    mark(root, "final", (10, 20))
    label_from_matches(root)
    save_labels(root / "train", [Answer(names[0], "0", "1")])
    assert label_from_matches(root)[0].differing == names
    assert read_labels(root / "train") == {names[0]: "0"}


def test_a_label_from_marks_that_another_program_changed_is_manual(root):
    names = collect(root, "final.mp4", ["12"])
    mark(root, "final", (10, 20))
    label_from_matches(root)
    (root / "train" / "train.csv").write_text(f"sequence,label\n{names[0]},0\n")
    assert label_from_matches(root)[0].differing == names
    assert read_labels(root / "train") == {names[0]: "0"}


def test_an_answer_saved_in_the_meantime_is_kept(root, monkeypatch):
    names = collect(root, "final.mp4", ["12", "14"])
    mark(root, "final", (10, 20))

    def answered_first(split_dir, answers, what):
        save_labels(split_dir, [Answer(names[0], "0", "")])
        return save_labels(split_dir, answers, what)

    monkeypatch.setattr(labels_from_marks, "save_labels", answered_first)
    [found] = label_from_matches(root)
    assert (found.labelled, found.kept) == (1, 1)
    assert read_labels(root / "train") == dict(zip(names, "01", strict=True))


def test_until_sec_removes_later_labels_from_marks(root):
    names = collect(root, "final.mp4", ["12", "40", "50"])
    mark(root, "final", (10, 20))
    save_labels(root / "train", [Answer(names[2], "0", "")])
    label_from_matches(root)
    [found] = label_from_matches(root, until_sec=30)
    assert found.taken_back == 1
    assert read_labels(root / "train") == {names[0]: "1", names[2]: "0"}


def test_only_the_splits_named_are_labelled(root):
    collect(root, "final.mp4", ["12"])
    mark(root, "final", (10, 20))
    assert label_from_matches(root, splits=("test",)) == []
    assert read_labels(root / "train") == {}


def test_a_sequence_without_frames_gets_no_label(root):
    [name] = collect(root, "final.mp4", ["12"])
    mark(root, "final", (10, 20))
    for frame in (root / "train" / "sequences" / name).iterdir():
        frame.unlink()
    label_from_matches(root)
    assert read_labels(root / "train") == {}


def test_until_sec_skips_sequences_that_end_later(root):
    names = collect(root, "final.mp4", ["0", "12", "12.001", "30"])
    mark(root, "final", (10, 20))
    [found] = label_from_matches(root, until_sec=13.0)
    assert read_labels(root / "train") == dict(zip(names[:2], "01", strict=True))
    assert (found.labelled, found.after_last) == (2, 0)


def test_sequences_after_the_last_rally_are_counted(root):
    collect(root, "final.mp4", ["0", "19.5", "20", "25", "30"])
    mark(root, "final", (5, 6), (10, 20))
    assert label_from_matches(root)[0].after_last == 3


def test_a_match_without_rallies_is_labelled_0_only_with_until_sec(root):
    names = collect(root, "final.mp4", ["0", "5"])
    marks_path(root, "final").parent.mkdir()
    marks_path(root, "final").write_text("start_sec,end_sec\n")
    assert label_from_matches(root)[0].labelled == 0
    assert read_labels(root / "train") == {}
    [found] = label_from_matches(root, until_sec=60)
    assert read_labels(root / "train") == dict.fromkeys(names, "0")
    assert (found.rallies, found.after_last) == (0, 2)


@pytest.mark.parametrize(
    ("frames", "fps", "length"), [(30, "25", 1.2), (16, "8", 2.0), (60, "59.94", 1.001)]
)
def test_the_length_of_a_sequence_is_its_frames_over_its_frame_rate(root, frames, fps, length):
    collect(root, "final.mp4", ["8.0", "8.0"], frames=frames, fps=fps)
    mark(root, "final", (8 + length / 2 - 0.001, 20))
    label_from_matches(root)
    assert set(read_labels(root / "train").values()) == {"1"}
    mark(root, "final", (8 + length / 2 + 0.002, 20))
    label_from_matches(root)
    assert set(read_labels(root / "train").values()) == {"0"}


def test_a_frame_rate_of_0_is_an_error(root):
    collect(root, "final.mp4", ["8.0"], fps="0")
    mark(root, "final", (8, 20))
    with pytest.raises(UserError, match="fps"):
        label_from_matches(root)


def test_rows_without_a_folder_are_skipped(root):
    names = collect(root, "final.mp4", ["12", "14"])
    shutil.rmtree(root / "train" / "sequences" / names[0])
    mark(root, "final", (10, 20))
    assert label_from_matches(root)[0].labelled == 1
    assert read_labels(root / "train") == {names[1]: "1"}


def test_only_sequences_of_the_marked_match_are_labelled_in_every_split(root):
    collect(root, "final.mp4", ["12"])
    collect(root, "other.mp4", ["12"])
    collect(root, "semi.mp4", ["12"], split="test")
    mark(root, "final", (10, 20))
    mark(root, "semi", (0, 5))
    found = label_from_matches(root)
    assert [(row.split, row.match) for row in found] == [("train", "final"), ("test", "semi")]
    assert read_labels(root / "train") == {"seq_00001": "1"}
    assert read_labels(root / "test") == {"seq_00001": "0"}


def test_one_match_can_be_chosen(root):
    collect(root, "final.mp4", ["12"])
    collect(root, "semi.mp4", ["12"])
    mark(root, "final", (10, 20))
    mark(root, "semi", (10, 20))
    [found] = label_from_matches(root, str(root / "semi.mp4"))
    assert found.match == "semi" and read_labels(root / "train") == {"seq_00002": "1"}


@pytest.mark.parametrize(
    "form", [ADDRESS, "https://youtu.be/RseCk0mwFE8", "videos/RseCk0mwFE8.mp4"]
)
def test_marks_named_by_a_youtube_id_belong_to_that_video_under_any_name(root, form):
    collect(root, form, ["12"])
    mark(root, match_name(ADDRESS), (10, 20))
    own(root, RseCk0mwFE8="videos/RseCk0mwFE8.mp4")
    assert label_from_matches(root)[0].labelled == 1
    assert label_from_matches(root, "youtu.be/RseCk0mwFE8")[0].match == "RseCk0mwFE8"
    assert read_labels(root / "train") == {"seq_00001": "1"}


def test_marks_that_could_belong_to_two_videos_are_refused(root):
    collect(root, "a/final.mp4", ["12"])
    collect(root, "b/final.mp4", ["12"], split="test")
    mark(root, "final", (10, 20))
    with pytest.raises(
        UserError, match="final.csv could .* a/final.mp4, b/final.mp4;.*--from-match"
    ):
        label_from_matches(root)
    assert label_from_matches(root, str(root / "b" / "final.mp4"))[0].split == "test"
    assert read_labels(root / "train") == {} and read_labels(root / "test") == {"seq_00001": "1"}


def test_marks_belong_to_the_noted_one_of_two_videos(root):
    collect(root, "a/final.mp4", ["12"])
    collect(root, "b/final.mp4", ["12"])
    mark(root, "final", (10, 20))
    own(root, final="b/final.mp4")
    assert label_from_matches(root)[0].labelled == 1
    assert read_labels(root / "train") == {"seq_00002": "1"}


def test_marks_of_another_existing_file_label_nothing(root):
    collect(root, "a/final.mp4", ["12"])
    for folder in ("a", "b"):
        (root / folder).mkdir()
        (root / folder / "final.mp4").touch()
    mark(root, "final", (10, 20))
    own(root, final="b/final.mp4")  # nothing was collected from it
    assert label_from_matches(root) == [] and read_labels(root / "train") == {}


def test_a_file_moved_since_collecting_keeps_its_marks(root):
    collect(root, "final.mp4", ["12"])
    (root / "videos").mkdir()
    (root / "videos" / "final.mp4").touch()
    mark(root, "final", (10, 20))
    own(root, final="videos/final.mp4")
    assert label_from_matches(root)[0].labelled == 1


def test_missing_marks_are_an_error(root):
    collect(root, "final.mp4", ["12"])
    with pytest.raises(UserError, match="no marks in .*matches; first run labeling.py --match"):
        label_from_matches(root)
    mark(root, "final", (10, 20))
    with pytest.raises(UserError, match="no marks of .*another.mp4 in .*matches"):
        label_from_matches(root, str(root / "another.mp4"))


def test_invalid_marks_label_nothing(root):
    collect(root, "final.mp4", ["12"])
    mark(root, "final", (10, 20))
    marks_path(root, "final").write_text("start_sec,end_sec\n10,ten\n")
    with pytest.raises(UserError, match="final.csv: the row 10,ten must be two numbers"):
        label_from_matches(root)
    assert read_labels(root / "train") == {}
