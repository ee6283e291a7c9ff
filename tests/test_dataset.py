import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import dataset
import plots
from cli import run_command
from conftest import write_data, write_sequence
from dataset import (
    FeatureDataset,
    SequenceDataset,
    SequenceKind,
    describe,
    load_splits,
    sequence_kind,
)
from extraction.backbones import normalise
from extraction.features import save_features
from files import UserError
from media.frames import FrameError, read_sequence


def problems(data, **options):
    with pytest.raises(UserError) as caught:
        load_splits(data, **options)
    return str(caught.value)


def labels(data, text, split="train"):
    (data / split / f"{split}.csv").write_bytes(text.encode())


def test_labels_come_as_zeros_and_ones_in_the_order_of_the_csv(data):
    labels(data, "sequence,label\nseq_00002,0\nseq_00001,1.0\nseq_00004,0.0\nseq_00003,1\n")
    table = load_splits(data)["train"]
    assert table.to_dict("list") == {
        "sequence": ["seq_00002", "seq_00001", "seq_00004", "seq_00003"],
        "label": [0, 1, 0, 1],
    }


def test_data_without_sequences_csv_is_accepted(data):
    for split in ("train", "validation", "test"):
        (data / split / "sequences.csv").unlink()
    assert [len(table) for table in load_splits(data).values()] == [4, 2, 2]


def test_every_problem_of_every_split_is_in_one_message(data):
    sequences = data / "train" / "sequences"
    shutil.rmtree(sequences / "seq_00001")
    (sequences / "seq_00002" / "00030.jpg").unlink()
    (sequences / "seq_00003" / "00007.jpg").write_bytes(b"")
    frame = sequences / "seq_00004" / "00009.jpg"
    frame.write_bytes(frame.read_bytes()[:-2000])
    write_sequence(sequences / "seq_00009", 0, seed=9)
    labels(
        data,
        "sequence,label\nseq_00001,1\nseq_00002,0\nseq_00003,1\nseq_00003,1\nseq_00004,0\n"
        "seq_00005,rally\n",
    )
    labels(data, "sequence,label\nseq_00001,1\nseq_00002,1\n", "validation")
    shutil.rmtree(data / "test")
    text = problems(data, deep=True)
    for part in [
        "rows of train.csv without a folder: seq_00001, seq_00005",
        "seq_00002 (29 frames instead of 30)",
        "seq_00003 (frame 7 is not a readable image)",
        "seq_00004 (frame 9 is truncated)",
        "more than one row in train.csv: seq_00003",
        "seq_00005 is 'rally'",
        "without a label",
        "seq_00009",
        "all 2 sequences have label 1",
        f"{data / 'test'}: the folder is missing",
    ]:
        assert part in text


@pytest.mark.parametrize("missing", ["all", "sequences", "csv", "rows", "column"])
def test_what_is_missing_is_named(data, missing):
    if missing == "all":
        shutil.rmtree(data)
        assert "there is no data in" in problems(data)
    elif missing == "sequences":
        shutil.rmtree(data / "test" / "sequences")
        assert "folder sequences/ is missing" in problems(data)
    elif missing == "csv":
        (data / "test" / "test.csv").unlink()
        assert "test.csv is missing; label the 2 sequences with labeling.py" in problems(data)
    elif missing == "rows":
        labels(data, "sequence,label\n", "test")
        assert "no labelled sequences" in problems(data, allow_unlabelled=True)
    else:
        labels(data, "folder,label\nseq_00001,1\n", "test")
        assert "test.csv has no column sequence" in problems(data)


def test_damage_inside_a_frame_is_found_on_request_and_a_missing_frame_always(data):
    sequences = data / "train" / "sequences"
    (sequences / "seq_00003" / "00007.jpg").write_bytes(b"no picture")
    assert len(load_splits(data)["train"]) == 4
    assert "seq_00003 (frame 7 is not a readable image)" in problems(data, deep=True)
    (sequences / "seq_00002" / "00030.jpg").unlink()
    text = problems(data)
    assert "seq_00002 (29 frames instead of 30)" in text and "seq_00003" not in text


def test_the_check_reads_one_frame_of_a_sequence_unless_asked_for_all(data, monkeypatch):
    read, real = [], Path.read_bytes

    def counting(path):
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    load_splits(data)
    assert len([path for path in read if path.suffix == ".jpg"]) == 8  # sequences
    read.clear()
    load_splits(data, deep=True)
    assert len([path for path in read if path.suffix == ".jpg"]) == 8 * 31


def test_features_read_one_by_one_are_those_held_in_memory(tmp_path):
    names = [f"seq_{k:05d}" for k in range(1, 8)]
    for name in names:
        save_features(tmp_path / f"{name}.safetensors", torch.randn(2, 30, 512), "")
    table = pd.DataFrame({"sequence": names, "label": [0, 1, 0, 1, 0, 1, 0]})
    held = FeatureDataset(tmp_path, table, views=2)
    lazy = FeatureDataset(tmp_path, table, views=2, most_bytes=0)
    assert held.features is not None and lazy.features is None
    for k in range(7):
        assert torch.equal(lazy.load_views(k), held.load_views(k))
        features, label = lazy[k]
        assert any(torch.equal(features, view) for view in held.features[k])
        assert label == held[k][1] == k % 2
    plain = torch.cat(list(lazy.plain_batches(3)))
    assert torch.equal(plain, held.features[:, 0])
    assert torch.equal(plain, torch.cat(list(held.plain_batches(256))))
    (tmp_path / "seq_00005.safetensors").unlink()
    with pytest.raises(UserError, match="seq_00005.*run extract_features again"):
        FeatureDataset(tmp_path, table, views=2, most_bytes=0)


def test_fewer_views_than_asked_for_are_an_error_and_not_copied(tmp_path):
    for name, views in [("seq_00001", 1), ("seq_00002", 4)]:
        save_features(tmp_path / f"{name}.safetensors", torch.randn(views, 30, 512), "")
    table = pd.DataFrame({"sequence": ["seq_00001", "seq_00002"], "label": [0, 1]})
    with pytest.raises(UserError, match=r"seq_00001.safetensors holds features \(1, 30, 512\)"):
        FeatureDataset(tmp_path, table, views=4)
    with pytest.raises(UserError, match="seq_00002"):  # also where they are read one by one
        FeatureDataset(tmp_path, table.iloc[[1, 0]], views=5, most_bytes=0)
    assert len(FeatureDataset(tmp_path, table)) == 2


def test_unlabelled_folders_can_be_passed_over_on_request(data):
    write_sequence(data / "test" / "sequences" / "seq_00003", 0, seed=3)
    assert "seq_00003" in problems(data)
    assert len(load_splits(data, allow_unlabelled=True)["test"]) == 2


def test_unlabelled_folders_do_not_decide_how_long_the_labelled_ones_are(tmp_path):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=6)
    for k in range(3, 23):
        write_sequence(data / "test" / "sequences" / f"seq_{k:05d}", 0, seed=k, frames=3)
    assert len(load_splits(data, allow_unlabelled=True)["train"]) == 4
    text = problems(data)
    assert "without a label" in text and "damaged" not in text


def test_a_video_in_two_splits_is_found(data):
    sources = data / "test" / "sequences.csv"
    sources.write_text(sources.read_text().replace("test.mp4", "train.mp4"))
    assert "the video train.mp4 is in both train and test" in problems(data)


def test_long_lists_of_names_are_cut(data):
    labels(data, "sequence,label\n" + "".join(f"seq_9{k:04d},1\n" for k in range(25)))
    assert "seq_90009 and 15 more" in problems(data)


def test_frames_are_rgb_and_in_the_order_of_their_numbers(tmp_path):
    for k in range(12):
        picture = np.full((224, 224, 3), (10 * k, 0, 200), np.uint8)  # BGR
        cv2.imwrite(str(tmp_path / f"{k + 1}.png"), picture)
    frames = read_sequence(tmp_path, seq_frames=12)
    assert frames.shape == (12, 3, 224, 224) and frames.dtype == np.uint8
    assert (frames[:, 0] == 200).all()
    assert frames[:, 2, 0, 0].tolist() == [10 * k for k in range(12)]


def test_a_png_named_jpg_and_another_size_are_accepted(data):
    frame = data / "train" / "sequences" / "seq_00001" / "00001.jpg"
    ok, png = cv2.imencode(".png", np.full((90, 160, 3), 77, np.uint8))
    frame.write_bytes(png.tobytes())
    load_splits(data)
    assert (read_sequence(frame.parent)[0] == 77).all()


def test_frames_that_cannot_be_read_say_which_and_why(data):
    folder = data / "train" / "sequences" / "seq_00001"
    (folder / "00002.jpg").write_bytes(b"no picture")
    with pytest.raises(FrameError) as caught:
        read_sequence(folder)
    assert caught.value.path == folder and caught.value.reason == "frame 2 is not a readable image"
    with pytest.raises(
        UserError, match="seq_00001: frame 2 is not a readable image: put its files"
    ):
        plots.plot_strips([folder], ["a strip"])


def test_files_of_the_operating_system_are_no_frames(data):
    (data / "train" / "sequences" / "seq_00001" / "._00001.jpg").write_bytes(b"Mac")
    (data / "train" / "sequences" / "seq_00001" / "Thumbs.db").write_bytes(b"Windows")
    (data / "train" / "sequences" / ".DS_Store").write_bytes(b"Mac")
    load_splits(data)


def test_sequence_dataset_gives_bytes_or_normalised_frames(data):
    table = load_splits(data)["train"]
    frames, label = SequenceDataset(data / "train", table, normalised=False)[0]
    assert frames.shape == (30, 3, 224, 224) and frames.dtype == torch.uint8 and label == 1
    normalised, _ = SequenceDataset(data / "train", table)[0]
    assert torch.equal(normalised, normalise(frames))


def test_the_balance_table_counts_each_class(tmp_path):
    tables = {"train": pd.DataFrame({"sequence": list("abcd"), "label": [0, 1, 0, 0]})}
    row = describe(tables).loc["train"]
    assert (row["sequences"], row["non-rally"], row["rally"]) == (4, 3, 1)
    assert row["rally share"] == 0.25


def test_the_command_says_what_is_there_or_what_is_wrong(tmp_path, capsys):
    data = write_data(tmp_path / "Data", (2, 2, 2))
    assert dataset.main([str(data)]) == 0 and "validation" in capsys.readouterr().out
    (data / "test" / "sequences" / "seq_00001" / "00002.jpg").write_bytes(b"")
    assert dataset.main([str(data)]) == 0
    with pytest.raises(UserError, match="frame 2 is not a readable image"):
        dataset.main([str(data), "--deep"])
    labels(data, "sequence,label\n")
    with pytest.raises(SystemExit, match="^1$"):
        run_command(lambda: dataset.main([str(data)]))
    assert "error: 2 problems in the data" in capsys.readouterr().err


def test_a_video_in_two_splits_is_found_behind_other_forms_of_its_address(data):
    for split, address in [
        ("train", "https://www.youtube.com/watch?v=RseCk0mwFE8"),
        ("test", "https://youtu.be/RseCk0mwFE8?t=95"),
        ("validation", "finals [RseCk0mwFE8].mp4"),
    ]:
        sources = data / split / "sequences.csv"
        sources.write_text(sources.read_text().replace(f"{split}.mp4", address))
    text = problems(data)
    assert "https://youtu.be/RseCk0mwFE8?t=95 is in both train and test" in text
    assert "finals [RseCk0mwFE8].mp4 is in both train and validation" in text


def test_frames_in_two_splits_are_found_whatever_their_video_is_called(data):
    for split in ("train", "test"):
        (data / split / "sequences.csv").unlink()
    copied = data / "test" / "sequences" / "seq_00002"
    shutil.rmtree(copied)
    shutil.copytree(data / "train" / "sequences" / "seq_00004", copied)
    text = problems(data)
    assert "1 sequence is identical in train and test, such as seq_00004" in text


def test_frames_in_two_splits_are_found_behind_a_still_that_shares_their_middle(data):
    for split in ("train", "test"):
        (data / split / "sequences.csv").unlink()
    sequences = data / "train" / "sequences"
    copied = data / "test" / "sequences" / "seq_00002"
    shutil.rmtree(copied)
    shutil.copytree(sequences / "seq_00002", copied)
    for path in (sequences / "seq_00004").iterdir():
        shutil.copy(sequences / "seq_00002" / "00016.jpg", path)
    assert "1 sequence is identical in train and test" in problems(data)


def test_a_black_second_in_two_splits_is_no_problem(data):
    for split in ("train", "test"):
        for k in range(1, 31):
            black = np.zeros((224, 224, 3), np.uint8)
            cv2.imwrite(str(data / split / "sequences" / "seq_00002" / f"{k:05d}.jpg"), black)
    assert len(load_splits(data)["test"]) == 2


# what sequences have in common


def record(data, split, **columns):
    """Puts columns (lists, or one value for all) into sequences.csv."""
    path = data / split / "sequences.csv"
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_data_of_15_frames_a_sequence_is_accepted_unless_another_number_is_asked_for(
    tmp_path, capsys
):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=15)
    assert dataset.main([str(data)]) == 0
    assert "15 frames a sequence, 30 a second" in capsys.readouterr().out
    assert "seq_00001 (15 frames instead of 30)" in problems(data, seq_frames=30)
    with pytest.raises(UserError, match="15 frames instead of 16"):
        dataset.main([str(data), "--seq-frames", "16"])


def test_sequences_of_another_length_than_most_are_damaged(tmp_path):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=15)
    write_sequence(data / "test" / "sequences" / "seq_00003", 1, seed=9, frames=30)
    labels(data, "sequence,label\nseq_00001,1\nseq_00002,0\nseq_00003,1\n", "test")
    text = problems(data)
    assert "seq_00003 (30 frames instead of 15)" in text and "1 problem " in text


def test_sequences_without_any_frame_are_damaged_even_where_they_are_most(tmp_path):
    data = write_data(tmp_path / "Data", (2, 2, 2))
    for split in ("train", "validation"):
        for frame in (data / split / "sequences").glob("*/*.jpg"):
            frame.unlink()
    assert "seq_00001 (0 frames instead of 30)" in problems(data)


def test_the_kind_of_sequences_is_what_sequences_csv_records(tmp_path):
    data = write_data(tmp_path / "Data", (2, 2, 2), frames=15)
    for split in ("train", "validation", "test"):
        record(data, split, fps=50.0, resize="bilinear")
    kind = sequence_kind(data, load_splits(data))
    assert kind == SequenceKind(frames=15, fps=50.0, resize="bilinear")


def test_data_that_records_nothing_is_the_original_studys_30_frames_a_second(data):
    for split in ("train", "validation", "test"):
        (data / split / "sequences.csv").unlink()
    assert sequence_kind(data, load_splits(data)) == SequenceKind(30, 30.0, "")


def test_a_resize_that_only_some_record_is_not_known(data):
    record(data, "train", resize="area")
    tables = load_splits(data)
    assert sequence_kind(data, tables).resize == ""
    assert sequence_kind(data, {"train": tables["train"]}).resize == "area"


def test_rates_within_a_hundredth_are_one_the_commonest(data):
    record(data, "train", fps=29.97)
    assert sequence_kind(data, load_splits(data)).fps == 29.97  # 4 sequences; the others have 30
    record(data, "train", fps=[30, 30, 30, 30.25])
    assert sequence_kind(data, load_splits(data)).fps == 30


@pytest.mark.parametrize("recorded", [True, False])
def test_two_rates_are_refused_with_a_sequence_of_each_and_what_to_do(data, recorded):
    tables = load_splits(data)
    record(data, "test", fps=[30, 50])
    if not recorded:  # the original study's, which is 30
        (data / "train" / "sequences.csv").unlink()
    expected = (
        "two rates: train/seq_00001 has 30 frames a second"
        + ("" if recorded else r" \(not recorded\)")
        + r", test/seq_00002 50; delete .* collect .* --fps 30"
        + ("" if recorded else ", or give those without a recorded rate a row in sequences.csv")
        + "$"
    )
    with pytest.raises(UserError, match=expected) as caught:
        sequence_kind(data, tables)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"1 problem .*\n.*" + expected):
        load_splits(data)
    assert sequence_kind(data, {"validation": tables["validation"]}).fps == 30


def test_a_rate_that_is_not_recorded_is_called_so_among_recorded_ones(data):
    record(data, "train", fps=25)
    record(data, "validation", fps=25)
    (data / "test" / "sequences.csv").unlink()
    assert "train/seq_00001 has 25 frames a second, test/seq_00001 30 (not recorded);" in problems(
        data
    )


def test_tables_of_sequences_that_cannot_be_read_are_problems_of_the_data(data):
    for split in ("train", "validation", "test"):
        (data / split / "sequences.csv").write_text("no,such,table\n1,2,3\n")
    assert problems(data).count("sequences.csv has no column sequence") == 3


def test_only_labelled_sequences_count_for_the_rate(data):
    record(data, "train", fps=[30, 30, 30, 50])
    labels(data, "sequence,label\nseq_00001,1\nseq_00002,0\nseq_00003,1\n")
    assert sequence_kind(data, load_splits(data, allow_unlabelled=True)).fps == 30


def test_two_ways_of_making_frames_small_are_refused(data):
    tables = load_splits(data)
    record(data, "train", resize="area")
    record(data, "test", resize=["", "bilinear"])
    expected = "two ways: train/seq_00001 by area, test/seq_00002 by bilinear; delete"
    with pytest.raises(UserError, match=expected):
        sequence_kind(data, tables)
    assert expected in problems(data)
