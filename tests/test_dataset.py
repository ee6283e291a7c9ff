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


def test_labels_are_0_or_1_in_csv_order(data):
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
def test_missing_folders_files_and_columns_are_named(data, missing):
    if missing == "all":
        shutil.rmtree(data)
        assert f"no data in {data}: " in problems(data)
    elif missing == "sequences":
        shutil.rmtree(data / "test" / "sequences")
        assert "folder sequences/ is missing" in problems(data)
    elif missing == "csv":
        (data / "test" / "test.csv").unlink()
        assert "test.csv is missing; label the sequences (here: 2) with labeling.py" in problems(
            data
        )
    elif missing == "rows":
        labels(data, "sequence,label\n", "test")
        assert "no labelled sequences" in problems(data, allow_unlabelled=True)
    else:
        labels(data, "folder,label\nseq_00001,1\n", "test")
        assert "test.csv has no column sequence" in problems(data)


def test_corrupt_frames_need_deep_and_missing_frames_do_not(data):
    sequences = data / "train" / "sequences"
    (sequences / "seq_00003" / "00007.jpg").write_bytes(b"no picture")
    assert len(load_splits(data)["train"]) == 4
    assert "seq_00003 (frame 7 is not a readable image)" in problems(data, deep=True)
    (sequences / "seq_00002" / "00030.jpg").unlink()
    text = problems(data)
    assert "seq_00002 (29 frames instead of 30)" in text and "seq_00003" not in text


def test_the_check_reads_one_frame_per_sequence_and_deep_reads_all(data, monkeypatch):
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


def test_features_read_one_by_one_equal_those_in_memory(tmp_path):
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


def test_too_few_views_are_an_error(tmp_path):
    for name, views in [("seq_00001", 1), ("seq_00002", 4)]:
        save_features(tmp_path / f"{name}.safetensors", torch.randn(views, 30, 512), "")
    table = pd.DataFrame({"sequence": ["seq_00001", "seq_00002"], "label": [0, 1]})
    shape = r"seq_00001.safetensors holds features of shape \(1, 30, 512\)"
    with pytest.raises(UserError, match=shape):
        FeatureDataset(tmp_path, table, views=4)
    with pytest.raises(UserError, match="seq_00002"):  # also if they are read one by one
        FeatureDataset(tmp_path, table.iloc[[1, 0]], views=5, most_bytes=0)
    assert len(FeatureDataset(tmp_path, table)) == 2


def test_allow_unlabelled_skips_sequences_without_a_label(data):
    write_sequence(data / "test" / "sequences" / "seq_00003", 0, seed=3)
    assert "seq_00003" in problems(data)
    assert len(load_splits(data, allow_unlabelled=True)["test"]) == 2


def test_unlabelled_sequences_do_not_set_the_expected_number_of_frames(tmp_path):
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


def test_long_lists_of_names_are_truncated(data):
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


def test_an_unreadable_frame_is_named_with_a_reason(data):
    folder = data / "train" / "sequences" / "seq_00001"
    (folder / "00002.jpg").write_bytes(b"no picture")
    with pytest.raises(FrameError) as caught:
        read_sequence(folder)
    assert caught.value.path == folder and caught.value.reason == "frame 2 is not a readable image"
    with pytest.raises(UserError, match="seq_00001: frame 2 is not a readable image: repair it"):
        plots.plot_strips([folder], ["a strip"])


def test_operating_system_files_are_ignored(data):
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


def test_the_command_prints_a_summary_or_the_problems(tmp_path, capsys):
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


def test_a_video_in_two_splits_is_found_under_other_addresses(data):
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


def test_identical_frames_in_two_splits_are_found_without_video_names(data):
    for split in ("train", "test"):
        (data / split / "sequences.csv").unlink()
    copied = data / "test" / "sequences" / "seq_00002"
    shutil.rmtree(copied)
    shutil.copytree(data / "train" / "sequences" / "seq_00004", copied)
    text = problems(data)
    assert "1 sequence is identical in train and test, such as seq_00004" in text


def test_identical_frames_are_found_despite_a_still_with_the_same_middle_frame(data):
    for split in ("train", "test"):
        (data / split / "sequences.csv").unlink()
    sequences = data / "train" / "sequences"
    copied = data / "test" / "sequences" / "seq_00002"
    shutil.rmtree(copied)
    shutil.copytree(sequences / "seq_00002", copied)
    for path in (sequences / "seq_00004").iterdir():
        shutil.copy(sequences / "seq_00002" / "00016.jpg", path)
    assert "1 sequence is identical in train and test" in problems(data)


def test_a_black_sequence_may_be_in_two_splits(data):
    for split in ("train", "test"):
        for k in range(1, 31):
            black = np.zeros((224, 224, 3), np.uint8)
            cv2.imwrite(str(data / split / "sequences" / "seq_00002" / f"{k:05d}.jpg"), black)
    assert len(load_splits(data)["test"]) == 2


def record(data, split, **columns):
    """Puts columns (lists, or one value for all) into sequences.csv."""
    path = data / split / "sequences.csv"
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_sequences_of_15_frames_are_accepted_unless_seq_frames_differs(tmp_path, capsys):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=15)
    assert dataset.main([str(data)]) == 0
    assert "15 frames per sequence, 30 frames per second" in capsys.readouterr().out
    assert "seq_00001 (15 frames instead of 30)" in problems(data, seq_frames=30)
    with pytest.raises(UserError, match="15 frames instead of 16"):
        dataset.main([str(data), "--seq-frames", "16"])


def test_a_sequence_with_an_unusual_number_of_frames_is_a_problem(tmp_path):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=15)
    write_sequence(data / "test" / "sequences" / "seq_00003", 1, seed=9, frames=30)
    labels(data, "sequence,label\nseq_00001,1\nseq_00002,0\nseq_00003,1\n", "test")
    text = problems(data)
    assert "seq_00003 (30 frames instead of 15)" in text and "1 problem " in text


def test_empty_sequences_are_a_problem_even_if_most_are_empty(tmp_path):
    data = write_data(tmp_path / "Data", (2, 2, 2))
    for split in ("train", "validation"):
        for frame in (data / split / "sequences").glob("*/*.jpg"):
            frame.unlink()
    assert "seq_00001 (0 frames instead of 30)" in problems(data)


def test_sequence_kind_comes_from_sequences_csv(tmp_path):
    data = write_data(tmp_path / "Data", (2, 2, 2), frames=15)
    for split in ("train", "validation", "test"):
        record(data, split, fps=50.0, resize="bilinear")
    kind = sequence_kind(data, load_splits(data))
    assert kind == SequenceKind(frames=15, fps=50.0, resize="bilinear")


def test_data_without_a_recorded_rate_has_30_frames_per_second(data):
    for split in ("train", "validation", "test"):
        (data / split / "sequences.csv").unlink()
    assert sequence_kind(data, load_splits(data)) == SequenceKind(30, 30.0, "")


def test_resize_is_unknown_if_only_some_sequences_record_it(data):
    record(data, "train", resize="area")
    tables = load_splits(data)
    assert sequence_kind(data, tables).resize == ""
    assert sequence_kind(data, {"train": tables["train"]}).resize == "area"


def test_frame_rates_within_1_percent_count_as_the_most_common_one(data):
    record(data, "train", fps=29.97)
    assert sequence_kind(data, load_splits(data)).fps == 29.97  # 4 sequences; the others have 30
    record(data, "train", fps=[30, 30, 30, 30.25])
    assert sequence_kind(data, load_splits(data)).fps == 30


@pytest.mark.parametrize("recorded", [True, False])
def test_mixed_frame_rates_are_refused_with_an_example_of_each_and_a_remedy(data, recorded):
    tables = load_splits(data)
    record(data, "test", fps=[30, 50])
    if not recorded:  # then the 30 fps of the original study count
        (data / "train" / "sequences.csv").unlink()
    expected = (
        "mixed frame rates: train/seq_00001 has 30 fps"
        + ("" if recorded else r" \(not recorded\)")
        + r", test/seq_00002 has 50 fps; delete .* collect .* --fps 30"
        + ("" if recorded else ", or add the sequences without a recorded rate to sequences.csv")
        + "$"
    )
    with pytest.raises(UserError, match=expected) as caught:
        sequence_kind(data, tables)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"1 problem .*\n.*" + expected):
        load_splits(data)
    assert sequence_kind(data, {"validation": tables["validation"]}).fps == 30


def test_the_message_says_which_frame_rate_is_not_recorded(data):
    record(data, "train", fps=25)
    record(data, "validation", fps=25)
    (data / "test" / "sequences.csv").unlink()
    text = problems(data)
    assert "train/seq_00001 has 25 fps, test/seq_00001 has 30 fps (not recorded);" in text


def test_unreadable_sequences_csv_files_are_listed_as_problems(data):
    for split in ("train", "validation", "test"):
        (data / split / "sequences.csv").write_text("no,such,table\n1,2,3\n")
    assert problems(data).count("sequences.csv has no column sequence") == 3


def test_only_labelled_sequences_set_the_frame_rate(data):
    record(data, "train", fps=[30, 30, 30, 50])
    labels(data, "sequence,label\nseq_00001,1\nseq_00002,0\nseq_00003,1\n")
    assert sequence_kind(data, load_splits(data, allow_unlabelled=True)).fps == 30


def test_mixed_resize_methods_are_refused(data):
    tables = load_splits(data)
    record(data, "train", resize="area")
    record(data, "test", resize=["", "bilinear"])
    expected = "resize methods: train/seq_00001 has area, test/seq_00002 has bilinear; delete"
    with pytest.raises(UserError, match=expected):
        sequence_kind(data, tables)
    assert expected in problems(data)
