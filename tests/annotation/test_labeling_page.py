"""The labelling page in a real Chromium: what a person sees, presses, and finds on disk."""

import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import uvicorn

from annotation import change_log
from annotation.agreement import measure_agreement
from annotation.app import Labelling, build_app
from annotation.ground_truth import read_truth, unknown_path
from annotation.labels import Answer, read_flags, read_labels, save_labels
from annotation.match_app import match_routes, open_match
from annotation.match_marks import read_marks, save_marks
from annotation.server import listen
from browser import accessibility_problems
from conftest import write_data, write_sequence, write_video
from files import UserError

pytest_plugins = ["browser"]
WAIT_MS = 8000
DOUBLE_MS = 450  # longer than a double click, which does not count as repeating
DEAF_MS = 800  # after a refusal the page ignores keys for this long


@contextmanager
def served(work, routes=()):
    """Runs the server in a thread; gives its address."""
    with listen(0) as listener:
        server = uvicorn.Server(
            uvicorn.Config(build_app(work, routes), log_level="error", lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@contextmanager
def opened(browser, address, complaints=(), **viewport):
    """A page at the address; an uncaught error of its script fails the test."""
    page = browser.new_page(viewport={"width": 1200, "height": 800} | viewport)
    page.set_default_timeout(WAIT_MS)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    try:
        yield page
        assert errors == []
    finally:
        page.close()


@contextmanager
def labelling(browser, data, more=(), **work):
    """The page for a data folder, once its first sequence is painted."""
    with served(Labelling(data, **work)) as address, opened(browser, address) as page:
        page.wait_for_selector("#picture[data-sequence], #finished:not([hidden])")
        yield page


def unlabelled(root, counts=(8, 2, 2)):
    write_data(root, counts)
    for split in ("train", "validation", "test"):
        (root / split / f"{split}.csv").unlink()
    return root


@pytest.fixture
def many(tmp_path):
    """24 unlabelled training sequences of three frames."""
    data = tmp_path / "Data"
    for k in range(1, 25):
        write_sequence(data / "train" / "sequences" / f"seq_{k:05d}", k % 2, k, frames=3)
    return data


def until(condition):
    """Waits until the condition holds; False after WAIT_MS."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def shown(page):
    return page.get_attribute("#picture", "data-sequence")


def press(page, *keys):
    """Presses keys, and returns when the page has acted on all of them."""
    for key in keys:
        page.keyboard.press(key)
    page.evaluate("() => queue")


def alert(page):
    return page.inner_text("#alert")


def test_it_opens_at_the_first_unlabelled_sequence_and_one_key_labels_it(browser, data):
    csv = data / "train" / "train.csv"
    csv.write_text("sequence,label\nseq_00001,1\n")
    with labelling(browser, data) as page:
        assert shown(page) == "seq_00002"
        press(page, "1")
        assert csv.read_text() == "sequence,label\nseq_00001,1\nseq_00002,1\n"
        assert shown(page) == "seq_00003"
        press(page, "0")
        assert read_labels(data / "train")["seq_00003"] == "0"


def test_20_labels_typed_as_fast_as_possible_are_all_right(browser, many):
    keys = "11010001101110010110"
    with labelling(browser, many) as page:
        for key in keys:
            page.keyboard.press(key)
        assert until(lambda: len(read_labels(many / "train")) == 20)
        press(page)
        assert shown(page) == "seq_00021"
    assert read_labels(many / "train") == {f"seq_{k:05d}": v for k, v in enumerate(keys, 1)}
    assert len(change_log.read_changes(many / "train" / "train.log.csv")) == 20


def test_each_sequence_is_one_request_and_the_next_two_are_prefetched(browser, many):
    asked = []
    with served(Labelling(many)) as address, opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#picture[data-sequence]")

        def frames():
            return [
                parse_qs(urlsplit(url).query)["sequence"][0] for url in asked if "frames" in url
            ]

        page.wait_for_timeout(300)
        assert frames() == ["seq_00001", "seq_00002", "seq_00003"]
        press(page, "1")
        page.wait_for_timeout(300)
        assert frames() == ["seq_00001", "seq_00002", "seq_00003", "seq_00004"]
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


def test_the_sequence_loops_through_its_frames_at_its_own_rate(browser, data):
    sources = data / "train" / "sequences.csv"
    sources.write_text("sequence,video,start_sec,fps\nseq_00001,a.mp4,0,60\n")
    (data / "train" / "train.csv").unlink()
    with labelling(browser, data) as page:
        seconds = page.evaluate(
            """async () => {
              const times = [];
              const seen = (frame) => $("picture").dataset.frame.endsWith(` ${frame}`);
              while (times.length < 3) {
                await new Promise(requestAnimationFrame);
                if (seen(0) || seen(1)) {
                  times.push(performance.now());
                  while (seen(0) || seen(1)) await new Promise(requestAnimationFrame);
                }
              }
              return (times[2] - times[1]) / 1000;
            }"""
        )
    assert 0.4 < seconds < 0.6  # 30 frames at 60 a second


def test_a_held_key_labels_once(browser, many):
    with labelling(browser, many) as page:
        for _ in range(6):
            page.keyboard.down("1")  # the second to the sixth are repeats
        page.keyboard.up("1")
        press(page)
        assert read_labels(many / "train") == {"seq_00001": "1"}


def test_undo_works_also_after_the_page_was_reloaded(browser, many):
    with labelling(browser, many) as page:
        press(page, "1", "0", "z")
        assert shown(page) == "seq_00002"
        assert read_labels(many / "train") == {"seq_00001": "1"}
        page.reload()
        page.wait_for_selector("#picture[data-sequence]")
        press(page, "Backspace")
        assert "before you opened this page: seq_00001" in alert(page)
        assert read_labels(many / "train") == {"seq_00001": "1"}
        page.wait_for_timeout(DOUBLE_MS)
        press(page, "Backspace")
        assert shown(page) == "seq_00001"
        assert read_labels(many / "train") == {}
        press(page, "z")
        assert "nothing to undo" in alert(page)


def test_going_back_and_pressing_the_other_key_relabels(browser, many):
    with labelling(browser, many) as page:
        press(page, "1", "1", "ArrowLeft", "ArrowLeft")
        assert shown(page) == "seq_00001"
        assert "seq_00001: rally" in page.inner_text("#about")
        press(page, "0")
        assert read_labels(many / "train") == {"seq_00001": "0", "seq_00002": "1"}
        assert shown(page) == "seq_00003"


def test_skipped_sequences_get_no_label_and_are_offered_again_at_the_end(browser, data):
    (data / "train" / "train.csv").unlink()
    with labelling(browser, data) as page:
        press(page, "s", "z")
        assert shown(page) == "seq_00001"
        press(page, "s", "1", "0", "1")
        assert "1 left, all skipped" in page.inner_text("#finished")
        page.click("text=Show skipped again")
        press(page)
        assert shown(page) == "seq_00001"


def test_a_finished_split_says_so_and_offers_the_others(browser, data):
    (data / "train" / "train.csv").unlink()
    with labelling(browser, data) as page:
        press(page, "1", "0", "1", "0")
        assert "train is finished" in page.inner_text("#finished")
        assert "4 of 4 done: 2 rally, 2 non-rally" in page.inner_text("#finished")
        page.click("text=Go to validation")
        press(page)
        assert "validation is finished" in page.inner_text("#finished")


def test_progress_counts_and_pace_are_in_view(browser, many):
    with labelling(browser, many) as page:
        press(page, *"1101")
        text = page.inner_text("#counts")
        assert "4 of 24 done" in text
        pairs = page.eval_on_selector_all("#numbers > *", "nodes => nodes.map(n => n.textContent)")
        told = dict(zip(pairs[::2], pairs[1::2], strict=True))
        assert (told["left"], told["rally"], told["non-rally"]) == ("20", "3", "1")
        assert float(told["per minute"]) > 0
        assert ":" in told["time left"]


def test_flags_are_kept(browser, many):
    with labelling(browser, many) as page:
        press(page, "f")
        assert read_flags(many / "train") == ["seq_00001"]
        assert page.get_attribute("#flag", "aria-pressed") == "true"
        press(page, "1", "1", "1")
        page.click("#walk-flagged")
        press(page)
        assert shown(page) == "seq_00001"
        press(page, "f")
        assert read_flags(many / "train") == []


def test_pause_frame_by_frame_and_speed(browser, data):
    (data / "train" / "train.csv").unlink()
    with labelling(browser, data) as page:
        page.keyboard.press(" ")
        assert page.get_attribute("#pause", "aria-pressed") == "true"
        page.wait_for_timeout(100)
        before = int(page.get_attribute("#picture", "data-frame").split()[-1])
        for key in "..,":
            page.keyboard.press(key)
        page.wait_for_timeout(100)
        after = int(page.get_attribute("#picture", "data-frame").split()[-1])
        assert (after - before) % 30 == 1
        page.keyboard.press("-")
        assert page.inner_text("#speed") == "0.5x"
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.inner_text("#speed") == "1.5x"


def test_everything_works_with_the_mouse(browser, many):
    with labelling(browser, many) as page:
        page.click("#one")
        page.click("#zero")
        page.click("#skip")
        page.click("#undo")
        page.click("#undo")
        page.click("#left")
        page.keyboard.press(" ")  # pauses, and does not press the clicked button again
        press(page)
        assert read_labels(many / "train") == {"seq_00001": "1"}
        assert shown(page) == "seq_00001"
        page.click("#to-help")
        assert "non-rally" in page.inner_text("#help")


def test_class_names_are_those_of_the_data(browser, many):
    with labelling(browser, many, class_names=("calm", "fight")) as page:
        assert page.inner_text("#one").startswith("fight")
        assert page.inner_text("#title") == "fight or calm?"


def test_the_grid_labels_twelve_at_once(browser, many):
    with labelling(browser, many) as page:
        press(page, "g")
        press(page, "2", "a", "0")
        page.click(".face >> nth=5")
        page.click(".leave >> nth=11")
        press(page, "Enter")
        ones = {2, 6, 10, 11}
        expected = {f"seq_{k:05d}": str(int(k in ones)) for k in range(1, 12)}
        assert read_labels(many / "train") == expected
        assert page.evaluate("() => view.cells[0].item.name") == "seq_00013"
        press(page, "z")
        assert read_labels(many / "train") == {}
        assert page.evaluate("() => view.cells.map((cell) => cell.value).join('')") == "01000100011"
        press(page, "Enter")  # the page still has its answers
        assert read_labels(many / "train") == expected
        press(page, "ArrowLeft")
        press(page, "1")
        press(page, "Enter")  # the previous page, changed
        assert read_labels(many / "train") == expected | {"seq_00001": "1"}


def test_a_key_meant_for_the_previous_page_of_the_grid_does_not_save_the_next(browser, many):
    with labelling(browser, many) as page:
        press(page, "g")
        page.evaluate(
            """() => {
              for (const key of ["Enter", "Enter", "1"]) {
                document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
              }
            }"""
        )
        press(page, "Enter")  # again, just when the next page has appeared
        assert set(read_labels(many / "train")) == {f"seq_{k:05d}" for k in range(1, 13)}
        page.wait_for_timeout(DOUBLE_MS)
        page.dblclick("#grid-save")
        press(page)
        assert len(read_labels(many / "train")) == 24
        assert set(read_labels(many / "train").values()) == {"0"}


def test_a_page_with_unsaved_changes_is_left_only_after_a_second_press(browser, many):
    with labelling(browser, many) as page:
        press(page, "g")
        press(page, "1", "ArrowRight")
        assert "unsaved changes" in alert(page)
        assert page.evaluate("() => view.cells[0].item.name") == "seq_00001"
        page.wait_for_timeout(DOUBLE_MS)
        press(page, "ArrowRight")
        assert page.evaluate("() => view.cells[0].item.name") == "seq_00013"


def test_undo_of_a_page_with_a_conflict_takes_back_only_what_was_saved(browser, many):
    with labelling(browser, many) as page:
        press(page, "g")
        save_labels(many / "train", [Answer("seq_00003", "1", "")])
        press(page, "Enter")
        assert "seq_00003 is rally" in alert(page)
        assert len(read_labels(many / "train")) == 12
        page.wait_for_timeout(DEAF_MS)
        press(page, "z")
        assert read_labels(many / "train") == {"seq_00003": "1"}


def test_the_split_can_be_changed_in_the_grid(browser, tmp_path):
    data = unlabelled(tmp_path / "Data", (26, 14, 2))
    with labelling(browser, data) as page:
        press(page, "g")
        press(page, "Enter")
        page.select_option("#split", "validation")
        press(page)
        page.wait_for_timeout(300)  # let the sequences play
        frames = page.evaluate("() => view.cells.map((cell) => cell.canvas.dataset.frame)")
        assert all(frames)
        press(page, "ArrowLeft")
        assert "first page" in alert(page)
        press(page, "Enter")
        assert len(read_labels(data / "validation")) == 12


def test_a_failed_save_is_shown_and_the_page_stays(browser, many, monkeypatch):
    def full(path, table):
        raise UserError(f"cannot write {path}: No space left on device")

    with labelling(browser, many) as page:
        press(page, "1")
        with monkeypatch.context() as patch:
            patch.setattr(change_log, "write_table", full)
            for key in "010":
                page.keyboard.press(key)
            press(page)
            assert "NOT SAVED" in alert(page)
            assert "No space left" in alert(page)
            assert shown(page) == "seq_00002"
        assert read_labels(many / "train") == {"seq_00001": "1"}
        page.wait_for_timeout(DEAF_MS)
        press(page, "1")
        assert not page.is_visible("#alert")
        assert read_labels(many / "train") == {"seq_00001": "1", "seq_00002": "1"}


def test_a_stopped_server_is_shown_as_not_saved(browser, many):
    with served(Labelling(many)) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#picture[data-sequence]")
    press(page, "1")
    assert "NOT SAVED" in alert(page)
    assert "labeling.py" in alert(page)
    page.close()


def test_a_label_from_another_tab_is_kept_and_shown(browser, many):
    with labelling(browser, many) as page:
        save_labels(many / "train", [Answer("seq_00001", "1", "")])
        press(page, "0", "0")  # the second key was meant for the next sequence
        assert "seq_00001 is rally" in alert(page)
        assert shown(page) == "seq_00001"
        assert read_labels(many / "train") == {"seq_00001": "1"}
        page.wait_for_timeout(DEAF_MS)
        press(page, "0")  # now the label from elsewhere was seen
        assert read_labels(many / "train") == {"seq_00001": "0"}


def test_focusing_the_page_shows_labels_from_elsewhere_and_overwrites_none(browser, many):
    with labelling(browser, many) as page:
        press(page, "g")
        save_labels(many / "train", [Answer("seq_00003", "1", "")])
        page.evaluate("() => { window.dispatchEvent(new Event('focus')); }")
        press(page, "Enter")
        assert "seq_00003 is rally" in alert(page)
        page.wait_for_timeout(DEAF_MS)
        press(page, "Enter")
        assert read_labels(many / "train")["seq_00003"] == "1"
        assert len(read_labels(many / "train")) == 12


def test_the_csv_edited_by_another_program_meanwhile_keeps_its_changes(browser, many):
    with labelling(browser, many) as page:
        press(page, "1")
        (many / "train" / "train.csv").write_text("sequence,label\nseq_00001,0\nseq_00024,1\n")
        press(page, "1")
    expected = {"seq_00001": "0", "seq_00024": "1", "seq_00002": "1"}
    assert read_labels(many / "train") == expected


def test_names_are_shown_as_text(browser, many):
    name = "<img src=x onerror=document.title='hit'>"
    write_sequence(many / "train" / "sequences" / name, 1, 1, frames=3)
    with labelling(browser, many) as page:
        assert shown(page) == name  # "<" sorts before "s"
        press(page, "1", "ArrowLeft")
        assert name in page.inner_text("#about")
        save_labels(many / "train", [Answer(name, "0", "1")])
        press(page, "1")
        assert name in alert(page)
        assert page.query_selector("main img, #alert img") is None
        assert page.title() == "train: 1 of 25 done"


def test_broken_and_empty_sequences_say_so_and_can_be_skipped(browser, many):
    sequences = many / "train" / "sequences"
    for frame in (sequences / "seq_00001").iterdir():
        frame.unlink()
    (sequences / "seq_00002" / "00002.jpg").write_bytes(b"no picture")
    (sequences / "seq_00003" / "00001.jpg").unlink()
    with labelling(browser, many) as page:
        assert "no frames" in page.inner_text("#about")
        press(page, "1")
        assert "cannot be shown" in alert(page)
        assert read_labels(many / "train") == {}
        press(page, "s")
        assert "frame 2 cannot be read" in page.inner_text("#about")
        press(page, "s")
        assert "2 frames instead of 3" in page.inner_text("#about")
        press(page, "s", "1")
        assert read_labels(many / "train") == {"seq_00004": "1"}


def test_a_sequence_comes_back_unannounced_and_the_second_answer_changes_no_label(
    browser, tmp_path
):
    data = tmp_path / "Data"
    for k in range(1, 46):
        write_sequence(data / "train" / "sequences" / f"seq_{k:05d}", 1, k, frames=3)
    with labelling(browser, data) as page:
        page.evaluate("() => { Math.random = () => 0.5; }")
        repeats = []
        for _ in range(42):
            name = shown(page)
            if name in read_labels(data / "train"):
                repeats.append(name)
                assert page.inner_text("#about").startswith("Sequence ")
                assert page.get_attribute("#picture", "class") == ""
            press(page, "0" if name in repeats else "1")
            page.wait_for_timeout(30)
        assert len(repeats) == 1
        different = measure_agreement(data / "train").different
        assert [each.sequence for each in different] == repeats
        assert set(read_labels(data / "train").values()) == {"1"}
        page.click("#to-agreement")
        page.wait_for_selector("#agreement[open]")
        assert repeats[0] in page.inner_text("#agreement")


def test_the_probability_is_hidden_until_the_person_has_answered(browser, many):
    probs = {"seq_00001": 0.93, "seq_00002": 0.41}
    with labelling(browser, many, probs=probs) as page:
        assert "0.93" not in page.content()
        press(page, "0")
        assert "The model disagrees (rally 0.93)" in page.inner_text("#last")
        assert "0.41" not in page.content()


def test_the_uncertain_come_first_in_train_and_not_elsewhere(browser, tmp_path):
    data = unlabelled(tmp_path / "Data")
    probs = {f"seq_{k:05d}": k / 10 for k in range(1, 9)}
    with labelling(browser, data, probs=probs, order="uncertain") as page:
        assert shown(page) == "seq_00005"
        page.select_option("#split", "test")
        press(page)
        assert shown(page) == "seq_00001"
        assert "its scores there would be too good" in page.inner_text("#problems")


def test_review_walks_through_the_labels_the_most_disputed_first(browser, data):
    probs = {"seq_00001": 0.9, "seq_00002": 0.8, "seq_00003": 0.1, "seq_00004": 0.2}
    with labelling(browser, data, probs=probs, order="review") as page:
        assert shown(page) == "seq_00003"  # labelled 1
        press(page, "0")
        assert shown(page) == "seq_00002"
        assert "1 of 4 reviewed" in page.inner_text("#done")
        press(page, "1", "0", "1")
        assert "4 of 4 reviewed" in page.inner_text("#finished")
        press(page, "z")
        assert "3 of 4 reviewed" in page.inner_text("#done")


# --- a whole match


@contextmanager
def marking(browser, video, data, proposals=None):
    match = open_match(video, data, proposals)
    with (
        served(Labelling(data, match=video.name), match_routes(match)) as address,
        opened(browser, address) as page,
    ):
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        yield page, match.marks_path


def seek(page, sec):
    page.evaluate(
        """async (sec) => {
          seek(sec);
          while (video.seeking) await new Promise((done) => setTimeout(done, 20));
        }""",
        sec,
    )


def test_marks_are_made_nudged_deleted_and_undone(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        seek(page, 1.0)
        press(page, "[")
        seek(page, 3.0)
        press(page, "]")
        assert read_marks(table) == [(1.0, 3.0)]
        press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
        assert read_marks(table) == [(1.0, 3.033)]
        assert "1 rally, 0:02 in all" in page.inner_text("#match-counts")
        press(page, "e", "ArrowLeft")
        assert read_marks(table) == [(0.967, 3.033)]
        press(page, "Delete")
        assert read_marks(table) == []
        press(page, "z", "z")
        assert read_marks(table) == [(1.0, 3.033)]
        page.reload()
        page.wait_for_selector("#rallies button")
        for _ in range(4):
            press(page, "z")
            assert "before you opened this page" in alert(page)
            page.wait_for_timeout(DOUBLE_MS)
            press(page, "z")
        assert read_marks(table) == []


def test_overlapping_and_inverted_marks_are_refused(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        for start, end in ((1.0, 3.0), (2.0, 4.0)):
            seek(page, start)
            press(page, "[")
            seek(page, end)
            press(page, "]")
        assert "overlaps" in alert(page)
        page.wait_for_timeout(DEAF_MS)
        press(page, "Escape")
        seek(page, 6.0)
        press(page, "[")
        seek(page, 5.0)
        press(page, "]")
        assert "end must come after" in alert(page)
        assert read_marks(table) == [(1.0, 3.0)]


def drag(page, start_sec, end_sec):
    """Drags the timeline of a match of 10 s from one time to the other."""
    box = page.locator("#timeline").bounding_box()
    x, y = (lambda sec: box["x"] + box["width"] * sec / 10), box["y"] + 50
    page.mouse.move(x(start_sec), y)
    page.mouse.down()
    page.mouse.move(x((start_sec + end_sec) / 2), y)
    page.mouse.move(x(end_sec) + 1, y)
    page.mouse.up()
    page.evaluate("() => queue")


def test_an_edge_is_dragged_on_the_timeline(browser, video, tmp_path):
    save_marks(tmp_path / "matches" / "match.csv", [(2.0, 4.0)], [], 10.0)
    with marking(browser, video, tmp_path) as (page, table):
        drag(page, 4.0, 5.0)
        assert until(lambda: read_marks(table) != [(2.0, 4.0)])
        (mark,) = read_marks(table)
        assert mark[0] == 2.0
        assert abs(mark[1] - 5.0) < 0.05


def stretches(table):
    return read_marks(unknown_path(table))


def save_stretches(data, *marks):
    table = data / "matches" / "match.csv"
    save_marks(unknown_path(table), list(marks), [], float("inf"))
    return table


def test_unknown_stretches_are_marked_moved_deleted_and_undone(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        seek(page, 1.0)
        press(page, "u")
        assert "0:01.00" in page.inner_text("#unknown")
        seek(page, 3.0)
        press(page, "u")
        assert stretches(table) == [(1.0, 3.0)] and read_marks(table) == []
        assert "2.0 s unknown" in page.inner_text("#match-time")
        press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
        assert stretches(table) == [(1.0, 3.033)]
        press(page, "e", "ArrowLeft")
        assert stretches(table) == [(0.967, 3.033)]
        press(page, "Delete")
        assert stretches(table) == [] and "s unknown" not in page.inner_text("#match-time")
        press(page, "z", "z")
        assert stretches(table) == [(1.0, 3.033)]
        drag(page, 3.033, 5.0)
        ((start, end),) = stretches(table)
        assert start == 1.0 and abs(end - 5.0) < 0.05
        assert unknown_path(table).parent == tmp_path / "unknown" and not table.exists()


def test_undo_goes_back_through_rallies_and_unknown_stretches_in_turn(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        for sec, key in ((1, "["), (2, "]"), (3, "u"), (4, "u"), (5, "["), (6, "]")):
            seek(page, sec)
            press(page, key)
        rallies, unknown = [(1.0, 2.0), (5.0, 6.0)], [(3.0, 4.0)]
        assert (read_marks(table), stretches(table)) == (rallies, unknown)
        press(page, "z")
        assert (read_marks(table), stretches(table)) == (rallies[:1], unknown)
        press(page, "z")
        assert (read_marks(table), stretches(table)) == (rallies[:1], [])
        page.reload()
        page.wait_for_selector("#rallies button")
        for _ in range(2):  # the first takes a change of before the reload, confirmed by the second
            press(page, "z")
            page.wait_for_timeout(DOUBLE_MS)
        assert (read_marks(table), stretches(table)) == ([], [])
        assert page.locator("#rallies li").count() == 0


def test_a_start_is_ended_by_its_own_key_and_other_keys_say_so(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        seek(page, 1.0)
        press(page, "u")
        seek(page, 2.0)
        for wrong in ("[", "]"):
            press(page, wrong)
            assert "An unknown stretch starts at 0:01.00: press u" in alert(page), wrong
        press(page, "u")
        assert (read_marks(table), stretches(table)) == ([], [(1.0, 2.0)])
        seek(page, 4.0)
        press(page, "[")
        seek(page, 5.0)
        press(page, "u")
        assert "A rally starts at 0:04.00: press ]" in alert(page)
        press(page, "]")
        assert (read_marks(table), stretches(table)) == ([(4.0, 5.0)], [(1.0, 2.0)])
        for discard in ("Escape", "z"):
            press(page, "u")
            press(page, discard)
            assert page.inner_text("#unknown").startswith("Unknown starts")
        assert (read_marks(table), stretches(table)) == ([(4.0, 5.0)], [(1.0, 2.0)])
        seek(page, 8.0)
        press(page, "u")
        seek(page, 7.0)
        press(page, "u")
        assert "end must come after the start: play on, then press u" in alert(page)
        page.click("#to-help")
        assert "start of an unknown stretch; again: its end" in page.inner_text("#help")


def test_n_and_p_visit_every_rally_proposal_and_stretch(browser, video, tmp_path):
    table = save_stretches(tmp_path, (1.0, 4.0), (8.0, 9.0))
    save_marks(table, [(1.0, 2.0), (6.0, 7.0)], [], 10.0)
    proposals = tmp_path / "proposals.csv"
    proposals.write_text("start_sec,end_sec\n4.5,5\n")
    with marking(browser, video, tmp_path, proposals) as (page, _):
        page.wait_for_selector("#rallies button")
        rows = page.locator("#rallies .go").all_inner_texts()
        assert len(rows) == 5
        assert ["not\u00a0known" in row for row in rows] == [False, True, False, False, True]
        found = []
        for key in ("n", "n", "n", "n", "n", "n", "p", "p", "p", "p", "p"):
            press(page, key)
            seek(page, page.evaluate("() => nowSec()"))  # waits until the seek is done
            found.append(rows.index(page.inner_text("#rallies .chosen")))
        assert found == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0]


def colours_at(page, start_sec, end_sec):
    """The (R, G, B) along a line through the timeline of 10 s, from one time to the other."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    values = page.evaluate(
        """([from, to]) => {
          const strip = $("timeline"), scale = strip.width / 10;
          const x = Math.round(from * scale), width = Math.round(to * scale) - x;
          const pen = strip.getContext("2d");
          return [...pen.getImageData(x, Math.round(strip.height * 0.7), width, 1).data];
        }""",
        [start_sec, end_sec],
    )
    return {tuple(values[k : k + 3]) for k in range(0, len(values), 4)}


def is_hatched(page, start_sec, end_sec):
    """Whether there are lines on the background, and nothing of the red of a rally."""
    colours = colours_at(page, start_sec, end_sec)
    return len(colours) > 1 and all(red <= blue for red, _, blue in colours)


RING = (255, 209, 102)  # what is selected


def test_stretches_are_hatched_outside_rallies_and_framed_when_selected(browser, video, tmp_path):
    table = save_stretches(tmp_path, (2.2, 6.8))
    save_marks(table, [(3.2, 4.8)], [], 10.0)
    with marking(browser, video, tmp_path) as (page, _):
        page.wait_for_selector("#rallies button")
        hatched = [k for k in range(1, 9) if is_hatched(page, k + 0.3, k + 0.7)]
        assert hatched == [2, 5, 6]
        assert len(colours_at(page, 3.3, 3.7)) == 1  # nothing shows through the rally
        left, right = (2.15, 2.25), (6.75, 6.85)
        assert not any(RING in colours_at(page, *edge) for edge in (left, right))
        press(page, "n")
        assert all(RING in colours_at(page, *edge) for edge in (left, right))
        assert "3.0 s unknown" in page.inner_text("#match-time")
        press(page, "n", "Delete")  # the rally
        assert is_hatched(page, 3.3, 3.7) and "4.6 s unknown" in page.inner_text("#match-time")


def test_the_edge_of_the_selected_one_is_dragged_where_a_rally_meets_a_stretch(
    browser, video, tmp_path
):
    table = save_stretches(tmp_path, (2.0, 4.0))
    save_marks(table, [(4.0, 6.0)], [], 10.0)
    with marking(browser, video, tmp_path) as (page, _):
        page.wait_for_selector("#rallies button")
        drag(page, 4.0, 5.0)
        assert stretches(table) == [(2.0, 4.0)]
        assert [abs(sec - 5) < 0.05 for sec in read_marks(table)[0]] == [True, False]
        press(page, "z", "Escape")
        assert read_marks(table) == [(4.0, 6.0)]
        drag(page, 3.0, 3.0)  # a click selects the stretch
        drag(page, 4.0, 5.0)
        assert read_marks(table) == [(4.0, 6.0)]
        assert [abs(sec - 5) < 0.05 for sec in stretches(table)[0]] == [False, True]
        assert read_truth(table).unknown == [(2.0, 4.0)]


def test_a_click_selects_a_rally_also_inside_a_selected_stretch(browser, video, tmp_path):
    table = save_stretches(tmp_path, (2.0, 8.0))
    save_marks(table, [(4.0, 6.0)], [], 10.0)
    with marking(browser, video, tmp_path) as (page, _):
        page.wait_for_selector("#rallies button")
        for sec, row in ((3.0, "0:02.00 – 0:08.00"), (5.0, "0:04.00 – 0:06.00")):
            drag(page, sec, sec)  # a click
            assert row in page.inner_text("#rallies .chosen")


def test_a_stretch_beyond_the_film_ends_with_it_on_the_page_and_is_kept(browser, video, tmp_path):
    table = save_stretches(tmp_path, (8.0, 36000.0))
    with marking(browser, video, tmp_path) as (page, _):
        page.wait_for_selector("#rallies button")
        assert "0:08.00 – 0:10.00" in page.inner_text("#rallies")
        assert "2.0 s unknown" in page.inner_text("#match-time")
        for sec in (1, 2):
            seek(page, sec)
            press(page, "u")
        assert stretches(table) == [(1.0, 2.0), (8.0, 36000.0)]


def test_a_stretch_is_marked_and_deleted_with_the_mouse(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, table):
        for sec in (1, 2):
            seek(page, sec)
            page.click("#unknown")
            press(page)
        assert stretches(table) == [(1.0, 2.0)]
        page.click("#rallies [aria-label='Delete the unknown stretch at 0:01.00']")
        press(page)
        assert stretches(table) == []


@pytest.mark.parametrize(("start", "end"), ["[]", "uu"])
def test_marks_from_another_tab_are_kept_and_shown(browser, video, tmp_path, start, end):
    with marking(browser, video, tmp_path) as (page, rallies):
        table = unknown_path(rallies) if start == "u" else rallies
        save_marks(table, [(7.0, 8.0)], [], 10.0)
        seek(page, 1.0)
        press(page, start)
        seek(page, 3.0)
        press(page, end)
        assert "changed elsewhere" in alert(page)
        assert read_marks(table) == [(7.0, 8.0)]
        page.wait_for_timeout(DEAF_MS)
        press(page, end)
        assert read_marks(table) == [(1.0, 3.0), (7.0, 8.0)]


def test_proposals_are_marks_only_once_they_are_confirmed(browser, video, tmp_path):
    table = tmp_path / "proposals.csv"
    pd.DataFrame({"start_sec": [1, 4, 7], "end_sec": [2, 5, 8]}).to_csv(table, index=False)
    with marking(browser, video, tmp_path, table) as (page, marks):
        assert read_marks(marks) == []
        press(page, "n", "Enter")
        assert read_marks(marks) == [(1.0, 2.0)]
        press(page, "n", "n", "p", "Delete")
        page.click("#confirm-all")
        press(page)
        assert read_marks(marks) == [(1.0, 2.0), (7.0, 8.0)]


def test_a_file_that_browsers_cannot_play_gets_a_copy_and_marks_keep_the_time_of_the_file(
    browser, tmp_path
):
    late = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "50", "-output_ts_offset", "2"]
    film = write_video(tmp_path / "match.mkv", "30", 300, *late)
    with marking(browser, film, tmp_path) as (page, table):
        assert (tmp_path / "match.mkv.proxy.mp4").exists()
        seek(page, 1.0)
        press(page, "[")
        seek(page, 2.0)
        press(page, ".", "]")
        assert read_marks(table) == [(1.0, 2.033)]


def test_the_list_scrolls_to_the_chosen_rally_and_a_long_path_is_wrapped(browser, video, tmp_path):
    data = tmp_path / ("long_" * 20) / ("path_" * 20)
    save_marks(data / "matches" / "match.csv", [(k / 4, k / 4 + 0.1) for k in range(40)], [], 10.0)
    match = open_match(video, data)
    work = Labelling(data, match=video.name)
    with (
        served(work, match_routes(match)) as address,
        opened(browser, address, width=400) as page,
    ):
        page.wait_for_selector("#rallies button")
        seek(page, 8.9)
        press(page, "n")
        assert page.evaluate("() => $('rallies').scrollTop") > 0
        assert page.evaluate("() => window.scrollY") == 0  # the video stays in view
        assert page.inner_text("#match-time").endswith(str(data / "matches" / "match.csv"))
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 400


def test_the_timeline_zooms_pans_and_follows_the_playhead(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, _):
        seek(page, 4.0)
        press(page, "ArrowUp", "ArrowUp")
        # Until the browser reports the frame, the time is the player's clock, 1 ms past it.
        assert page.evaluate("() => line.view") == pytest.approx([3, 5.5], abs=0.001)
        seek(page, 6.0)
        assert page.evaluate("() => line.view") == pytest.approx([5.625, 8.125])
        page.hover("#timeline")
        page.mouse.wheel(200, 0)
        page.wait_for_function("() => line.view[0] > 6")
        assert page.evaluate("() => line.view") == pytest.approx([6.125, 8.625])
        page.mouse.wheel(0, 2000)
        page.wait_for_function("() => line.view[0] === 0 && line.view[1] === line.endSec")


def test_shuttle_and_speed_keys(browser, video, tmp_path):
    with marking(browser, video, tmp_path) as (page, _):
        page.evaluate("() => { video.muted = true; }")
        page.keyboard.press("l")
        page.wait_for_function("() => !video.paused && video.currentTime > 0.2")
        page.keyboard.press("l")
        assert page.inner_text("#speed") == "2x"
        page.keyboard.press("k")
        assert page.evaluate("() => video.paused")
        seek(page, 5.0)
        page.keyboard.press("j")
        page.wait_for_function("() => video.currentTime < 4.6")
        page.keyboard.press("k")
        for _ in range(9):
            page.keyboard.press("-")
        assert page.inner_text("#speed") == "0.5x"
        for _ in range(9):
            page.keyboard.press("+")
        assert page.inner_text("#speed") == "4x"


# --- accessibility and small screens


@contextmanager
def inspected(browser, work, routes, width):
    """The page without its content security policy, so that axe-core can run in it."""
    with (
        served(work, routes) as address,
        browser.new_context(bypass_csp=True, viewport={"width": width, "height": 800}) as context,
    ):
        page = context.new_page()
        page.goto(address)
        yield page


@pytest.mark.parametrize("width", [1200, 400])
def test_axe_finds_nothing_serious_on_the_sequence_page(browser, many, width):
    with inspected(browser, Labelling(many), (), width) as page:
        page.wait_for_selector("#picture[data-sequence]")
        press(page, "1", "f")
        assert accessibility_problems(page) == []
        press(page, "g")
        assert accessibility_problems(page) == []
        page.click("#to-help")
        assert accessibility_problems(page) == []
        page.keyboard.press("Escape")
        while page.is_visible("#grid"):  # one or two may come back for a second answer
            press(page, "Enter")
        assert page.is_visible("#finished")
        assert accessibility_problems(page) == []


@pytest.mark.parametrize("width", [1200, 400])
def test_axe_finds_nothing_serious_on_the_match_page(browser, video, tmp_path, width):
    save_stretches(tmp_path, (7.0, 8.0))
    table = tmp_path / "proposals.csv"
    table.write_text("start_sec,end_sec\n1,2\n4,5\n")
    match = open_match(video, tmp_path, table)
    work = Labelling(tmp_path, match=video.name)
    with inspected(browser, work, match_routes(match), width) as page:
        page.wait_for_selector("#rallies button")
        press(page, "n", "Enter")
        assert accessibility_problems(page) == []


@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_is_wider_than_the_window(browser, many, width):
    with served(Labelling(many)) as address, opened(browser, address, width=width) as page:
        page.wait_for_selector("#picture[data-sequence]")
        for key in ("1", "g"):
            press(page, key)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
