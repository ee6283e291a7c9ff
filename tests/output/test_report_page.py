"""The report in a real Chromium, opened as a file: what a person sees, presses and saves."""

import subprocess
from contextlib import contextmanager

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest

from annotation.match_marks import read_marks
from browser import accessibility_problems
from conftest import write_video
from media.proxy import offset_sec
from output.report import Facts, prepare_video, save_report

pytest_plugins = ["browser"]
WAIT_MS = 8000
FOUND = [(2.0, 4.0, 0.91), (5.0, 6.5, 0.72), (9.0, 11.0, 0.55)]
DURATION_SEC = 12.0
NO_PICKER = "delete window.showSaveFilePicker; delete Window.prototype.showSaveFilePicker"


@pytest.fixture(scope="module")
def match(tmp_path_factory):
    """12 s at 30 fps of numbered frames, as MP4."""
    return write_video(tmp_path_factory.mktemp("match") / "final.mp4", "30", 360)


def table(rows):
    columns = ["start_sec", "end_sec", "duration_sec", "confidence"]
    return pd.DataFrame([(s, e, e - s, sure) for s, e, sure in rows], columns=columns)


def make_report(video, rows=FOUND, duration_sec=DURATION_SEC, offset=0.0, **facts):
    times = np.arange(0, duration_sec, 0.5)
    probs = np.full(len(times), 0.1)
    for start, end, _ in rows:
        probs[(times >= start) & (times < end)] = 0.9
    folder = video.parent / f"{video.stem}_rallies"
    found = (times, probs)
    return save_report(folder, video, table(rows), found, duration_sec, Facts(**facts), offset)


@contextmanager
def opened(browser, report, width=1200, silent=True, script=NO_PICKER, scheme="dark"):
    """Opens the report and waits for its video. With silent, any console message fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(WAIT_MS)
    page.add_init_script(script)
    said, asked, dialogs = [], [], []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if silent else None)
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
    page.dialogs = dialogs
    page.goto(report.as_uri())
    page.wait_for_function("() => playable || !$('problem').hidden")
    try:
        yield page
        assert said == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    finally:
        page.close()


@pytest.fixture
def page(browser, match):
    with opened(browser, make_report(match)) as page:
        yield page


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def settle(page):
    """Pauses, and waits until the frame is shown."""
    page.evaluate("() => video.pause()")
    page.wait_for_function("() => !video.seeking")


def now(page):
    """The player's own time."""
    return page.evaluate("() => video.currentTime")


def rallies(page):
    """Returns (start, end) of the rallies that are not dropped."""
    return [tuple(pair) for pair in page.evaluate("() => kept().map((r) => [r.start, r.end])")]


def go(page, sec):
    page.evaluate("(sec) => { video.pause(); seek(sec); }", sec)
    page.wait_for_function(
        "() => !playable || (!video.seeking && Math.abs((frameSec ?? -9) - clockSec()) < 0.05)"
    )


def current(page):
    return page.inner_text("#current-title")


def saved(page, folder, how=lambda page: page.keyboard.press("s")):
    """Saves the table that the browser downloads, and returns its path."""
    with page.expect_download() as download:
        how(page)
    assert download.value.suggested_filename == "rallies.csv"
    path = folder / "rallies.csv"
    download.value.save_as(path)
    return path


def test_keys_go_from_rally_to_rally_and_play(page):
    for key, sec in [("n", 2.0), ("n", 5.0), ("ArrowDown", 9.0), ("p", 5.0), ("ArrowUp", 2.0)]:
        press(page, key)
        page.wait_for_function("(sec) => !video.paused && clockSec() >= sec", arg=sec)
        assert now(page) == pytest.approx(sec, abs=0.6)
    assert current(page) == "Rally 1 of 3, 2.0 s"
    press(page, "b")
    assert page.inner_text("#said") == "There is no previous rally"


def test_space_plays_and_pauses_and_arrows_and_dots_step(page):
    go(page, 3.0)
    press(page, " ")
    page.wait_for_function("() => clockSec() > 3.2")
    press(page, " ")
    assert page.evaluate("() => video.paused")
    page.wait_for_function("() => $('play').innerText.startsWith('Play')")
    go(page, 3.0)
    for key, sec in [("ArrowRight", 4.0), (".", 4 + 1 / 30), (".", 4 + 2 / 30), (",", 4 + 1 / 30)]:
        press(page, key)
        settle(page)
        assert now(page) == pytest.approx(sec, abs=0.002)
    press(page, "ArrowLeft", "ArrowLeft")
    settle(page)
    assert now(page) == pytest.approx(2 + 1 / 30, abs=0.002)


def test_a_dropped_rally_is_not_saved_and_comes_back(page, tmp_path):
    press(page, "n", "n", "d")
    assert rallies(page) == [(2, 4), (9, 11)]
    assert page.inner_text("#title") == "final.mp4: 2 rallies, 33 % of 0:12 in play"
    assert page.title() == page.inner_text("#title")
    assert page.inner_text("#rallies tr >> nth=1").split()[-2] == "dropped"
    assert read_marks(saved(page, tmp_path)) == [(2, 4), (9, 11)]
    press(page, "d")
    assert read_marks(saved(page, tmp_path)) == [(2, 4), (5, 6.5), (9, 11)]


def test_the_saved_table_keeps_its_columns_and_confidences(page, tmp_path):
    press(page, "n")
    page.click("#end-more")
    press(page, "p")
    go(page, 7.25)
    press(page, "a")
    assert saved(page, tmp_path).read_text() == (
        "start_sec,end_sec,duration_sec,confidence\n"
        "2.000,4.100,2.100,0.91\n"
        "5.000,6.500,1.500,0.72\n"
        "7.233,9.000,1.767,\n"
        "9.000,11.000,2.000,0.55\n"
    )


def test_nudges_move_an_edge_by_a_tenth_and_show_it(page):
    press(page, "n", "n")
    page.click("#start-less")
    page.click("#start-less")
    settle(page)
    assert rallies(page)[1] == (4.8, 6.5) and now(page) == pytest.approx(4.8, abs=0.002)
    page.click("#start-more")
    page.click("#end-less")
    settle(page)
    assert rallies(page)[1] == (4.9, 6.4) and now(page) == pytest.approx(6.4, abs=0.002)
    assert page.inner_text("#rallies tr >> nth=1").split()[-2] == "moved"


def test_brackets_set_the_edges_to_the_frame_that_is_shown(page):
    press(page, "n", "n")
    go(page, 4.51)  # shows the frame of 4.5 s
    press(page, "[")
    go(page, 7.0)
    press(page, "]")
    assert rallies(page) == [(2, 4), (4.5, 7.0), (9, 11)]
    press(page, "z", "z")
    go(page, 4.5)
    press(page, "i")
    assert rallies(page)[1] == (4.5, 6.5)


def test_edges_stop_at_the_neighbours_and_a_start_stays_before_its_end(page):
    press(page, "n", "n")
    go(page, 3.0)
    press(page, "[")
    assert rallies(page)[1] == (4.0, 6.5)
    assert page.inner_text("#said") == "This edge cannot go further"
    go(page, 10.0)
    press(page, "]")
    assert rallies(page)[1] == (4.0, 9.0)
    go(page, 9.5)
    press(page, "[")
    assert page.inner_text("#said") == "Rally 2 must start before it ends"
    page.evaluate("() => { for (let k = 0; k < 60; k += 1) nudge('end', -0.1); }")
    assert rallies(page)[1] == (4.0, 4.1)
    page.evaluate("() => { jump(1); for (let k = 0; k < 20; k += 1) nudge('end', 0.1); }")
    assert rallies(page)[2] == (9.0, 12.0)


def test_edges_ignore_a_dropped_rally_which_is_not_restored_over_another(page):
    press(page, "n", "n", "d", "p")
    go(page, 5.5)
    press(page, "]")
    assert rallies(page) == [(2, 5.5), (9, 11)]
    page.click("#rallies tr >> nth=1 >> button >> nth=1")
    assert "Rally 1 now overlaps this one" in page.inner_text("#said")
    assert rallies(page) == [(2, 5.5), (9, 11)]
    press(page, "z")
    page.click("#rallies tr >> nth=1 >> button >> nth=1")
    assert rallies(page) == [(2, 4), (5, 6.5), (9, 11)]


def test_a_rally_is_added_where_there_is_room(page):
    go(page, 7.0)
    press(page, "a")
    assert rallies(page) == [(2, 4), (5, 6.5), (7, 9), (9, 11)]
    assert current(page) == "Rally 3 of 4, 2.0 s"
    go(page, 8.0)
    press(page, "]", "a")
    assert rallies(page)[2:] == [(7, 8), (8, 9), (9, 11)]
    go(page, 10.0)
    press(page, "a")
    assert page.inner_text("#said") == "Rally 5 is already here"


def test_undo_takes_back_step_by_step(page):
    press(page, "n", "d", "n")
    page.click("#end-more")
    press(page, "Control+z")
    assert rallies(page) == [(5, 6.5), (9, 11)]
    press(page, "z")
    assert rallies(page) == [(2, 4), (5, 6.5), (9, 11)]
    assert page.is_disabled("#undo")
    press(page, "z")
    assert page.inner_text("#said") == "There is nothing to undo"


def test_restoring_the_detected_rallies_can_be_undone(page):
    press(page, "n", "d")
    page.click("#detected")
    assert rallies(page) == [(2, 4), (5, 6.5), (9, 11)]
    assert page.is_hidden("#changes")
    press(page, "z")
    assert rallies(page) == [(5, 6.5), (9, 11)]


def test_a_reload_warns_and_loses_nothing(page, tmp_path):
    press(page, "n", "d")
    assert "Not saved yet" in page.inner_text("#changes")
    assert rallies(page) == [(5, 6.5), (9, 11)]
    page.reload()
    assert page.dialogs == ["beforeunload"]
    assert rallies(page) == [(5, 6.5), (9, 11)]
    assert "Not saved yet" in page.inner_text("#changes")
    saved(page, tmp_path)
    assert "that you saved" in page.inner_text("#changes")
    page.reload()
    assert page.dialogs == ["beforeunload"]  # only once: the second reload had no unsaved changes
    assert rallies(page) == [(5, 6.5), (9, 11)]
    page.click("#detected")
    assert "Not saved yet" in page.inner_text("#changes")


def test_stored_changes_of_an_earlier_detection_are_not_used(browser, tmp_path):
    video = tmp_path / "gone.mp4"
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(make_report(video).as_uri())
        press(page, "n", "d")
        page.goto(make_report(video, [(1.0, 3.0, 0.5)]).as_uri())
        assert rallies(page) == [(1, 3)]
        page.goto(make_report(video).as_uri())
        assert rallies(page) == [(5, 6.5), (9, 11)]


def test_a_browser_without_storage_is_reported(browser, match):
    refuse = "Storage.prototype.setItem = () => { throw new Error('full'); };"
    with opened(browser, make_report(match), script=NO_PICKER + ";" + refuse) as page:
        press(page, "n", "d")
        assert "this browser cannot keep your changes" in page.inner_text("#changes")


PICKER = """window.showSaveFilePicker = async (options) => {
  window.asked = options;
  if (window.refusal) throw new DOMException("no", window.refusal);
  return { name: "x.csv", createWritable: async () => ({
    write: async (text) => { window.written = text; }, close: async () => {} }) };
};"""


def test_a_browser_with_a_file_picker_writes_the_chosen_file(browser, match):
    with opened(browser, make_report(match), script=PICKER) as page:
        press(page, "n", "d")
        page.evaluate("() => { window.refusal = 'AbortError'; }")
        press(page, "s")
        page.wait_for_function("() => $('said').innerText === 'Not saved'")
        assert "Not saved yet" in page.inner_text("#changes")
        page.evaluate("() => { window.refusal = 'NotReadableError'; }")
        press(page, "s")
        page.wait_for_function("() => $('said').innerText === 'NOT SAVED: no'")
        page.evaluate("() => { window.refusal = ''; }")
        press(page, "s")
        page.wait_for_function("() => window.written")
        assert page.evaluate("() => window.asked.suggestedName") == "rallies.csv"
        assert len(page.evaluate("() => window.written").splitlines()) == 3
        assert str(match.parent / "final_rallies") in page.inner_text("#said")
        assert "that you saved" in page.inner_text("#changes")


def test_a_download_says_which_table_to_overwrite(page, match, tmp_path):
    saved(page, tmp_path, lambda page: page.click("#save"))
    told = page.inner_text("#said")
    assert f"Move it to {match.parent / 'final_rallies'}" in told


def test_a_video_with_an_unusual_name_is_played_and_named(browser, match, tmp_path):
    name = "ä 羽 #1?50%20'\"<b>&amp;.mp4"
    video = tmp_path / name
    video.write_bytes(match.read_bytes())
    with opened(browser, make_report(video)) as page:
        press(page, "n")
        page.wait_for_function("() => clockSec() > 2.1")
        assert page.inner_text("#title").startswith(name)


def test_times_count_from_the_first_frame(browser, match, tmp_path):
    """The pictures of this file begin half a second after its sound."""
    video, ffmpeg = tmp_path / "late.mp4", imageio_ffmpeg.get_ffmpeg_exe()
    sound = ["-f", "lavfi", "-t", "12.5", "-i", "sine"]
    command = [ffmpeg, "-loglevel", "error", *sound, "-itsoffset", "0.5", "-i", str(match)]
    streams = ["-map", "1:v", "-map", "0:a", "-c:v", "copy", "-c:a", "aac"]
    subprocess.run([*command, *streams, str(video)], check=True)
    played, offset = prepare_video(video, tmp_path, pytest.fail)
    assert played == video and offset == offset_sec(video) == pytest.approx(0.5, abs=0.01)
    with opened(browser, make_report(video, offset=offset)) as page:
        press(page, "n", " ")
        settle(page)
        go(page, 5.0)
        assert now(page) == pytest.approx(5 + offset, abs=0.002)
        press(page, "n")
        go(page, 7.0)
        press(page, "]")
        assert rallies(page)[1] == (5, pytest.approx(7, abs=0.001))


def test_a_missing_video_is_named_and_the_rest_works(browser, tmp_path):
    video = tmp_path / "moved away #1.mp4"
    with opened(browser, make_report(video), silent=False) as page:
        assert str(video) in page.inner_text("#problem")
        assert page.is_hidden("#player")
        press(page, "n", "n", "ArrowRight", "[", "d")
        assert rallies(page) == [(2, 4), (9, 11)]
        press(page, " ")
        assert page.inner_text("#said") == "There is no video to play"
        press(page, "d")
        assert read_marks(saved(page, tmp_path)) == [(2, 4), (6, 6.5), (9, 11)]


def test_only_the_rallies_are_played(page):
    press(page, "m")
    assert page.get_attribute("#only", "aria-pressed") == "true"
    page.evaluate("() => { video.playbackRate = 2; }")
    press(page, " ")
    seen = []
    for _ in range(400):
        seen.append(page.evaluate("() => [clockSec(), video.seeking, video.paused]"))
        if seen[-1][2] and seen[-1][0] > 10:
            break
        page.wait_for_timeout(20)
    played = [sec for sec, seeking, paused in seen if not seeking and not paused]
    outside = [t for t in played if not any(s - 0.1 <= t < e + 0.4 for s, e, _ in FOUND)]
    assert {t for t in outside if t > 0.5} == set()
    assert all(any(s <= t < e for t in played) for s, e, _ in FOUND)
    assert page.inner_text("#said") == "That was the last rally"


def test_the_rally_that_begins_while_it_plays_becomes_the_current_one(page):
    go(page, 4.6)
    press(page, " ")
    page.wait_for_function("() => clockSec() > 5.1")
    assert current(page).startswith("Rally 2")


def test_the_mouse_works_too(page):
    box = page.locator("#whole").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 6 / 12, box["y"] + 40)
    settle(page)
    assert now(page) == pytest.approx(6, abs=0.02)
    assert current(page).startswith("Rally 2")
    page.click("#drop")
    assert rallies(page) == [(2, 4), (9, 11)]
    page.click("#undo")
    page.click("#rallies tr >> nth=2")
    page.wait_for_function("() => !video.paused && clockSec() >= 9")
    page.click("#play")
    assert page.evaluate("() => video.paused")
    page.click("#player")
    page.wait_for_function("() => !video.paused")
    page.click("text=Keys")
    assert "next rally" in page.inner_text("#help")


def test_a_dragged_edge_stops_at_its_neighbour(page):
    press(page, "n", "n", " ")
    box = page.locator("#lower").bounding_box()
    x = lambda sec: box["x"] + page.evaluate("(sec) => toX(lower, sec)", sec)  # noqa: E731
    middle = box["y"] + box["height"] / 2

    def drag(from_sec, to_sec):
        page.mouse.move(x(from_sec), middle)
        page.mouse.down()
        page.mouse.move(x((from_sec + to_sec) / 2), middle)
        page.mouse.move(x(to_sec), middle)
        page.mouse.up()

    drag(6.5, 7.5)
    assert rallies(page)[1] == (5, pytest.approx(7.5, abs=0.02))
    drag(5, 1)
    assert rallies(page)[1][0] == 4
    press(page, "z")
    assert rallies(page)[1] == (5, pytest.approx(7.5, abs=0.02))
    drag(2, 1)  # the rally is not selected, so this only moves the playhead
    assert rallies(page)[0] == (2, 4)


def test_the_list_is_reached_by_the_keyboard(page):
    page.focus("#rallies button")
    press(page, "ArrowDown", "ArrowDown")
    assert page.evaluate("() => document.activeElement.innerText") == "2"
    press(page, "Tab", "Enter")  # its Drop button
    assert rallies(page) == [(2, 4), (9, 11)]


def test_a_match_without_rallies_says_so(browser, match, tmp_path):
    video = tmp_path / "quiet.mp4"
    video.write_bytes(match.read_bytes())
    with opened(browser, make_report(video, [])) as page:
        assert page.is_visible("#none")
        press(page, "n", "d")
        go(page, 1.0)
        press(page, "a")
        assert rallies(page) == [(1, 6)] and page.is_hidden("#none")


def test_synthetic_is_shown_and_facts_are_text_not_html(browser, match, tmp_path):
    report = make_report(match, unknown=[(1, 2)], synthetic=True, model="<b>runs</b>/best.pth")
    with opened(browser, report) as page:
        assert "SYNTHETIC" in page.inner_text("header")
        page.click("summary")
        assert "<b>runs</b>/best.pth" in page.inner_text("#facts")
        assert "0:01.0 to 0:02.0" in page.inner_text("#facts")
        assert page.is_visible("#unknown-key")
    with opened(browser, make_report(match)) as page:
        assert "SYNTHETIC" not in page.inner_text("header")


def long_rallies():
    return [(36.0 * k + 3.25, 36.0 * k + 15.75, 0.5 + k / 400) for k in range(200)]


def test_200_rallies_of_two_hours_are_quick(browser, tmp_path):
    report = make_report(tmp_path / "gone.mp4", long_rallies(), 7200.0)
    assert report.stat().st_size < 1_000_000
    with opened(browser, report, silent=False) as page:
        took_ms = page.evaluate(
            """() => {
              const began = performance.now();
              for (let k = 0; k < 40; k += 1) { ACTIONS.n(); ACTIONS.d(); drawStrip(whole); }
              return (performance.now() - began) / 40;
            }"""
        )
        assert took_ms < 200  # for each key; about 10 ms on an idle machine
        assert current(page).startswith("Rally 40 of 200")
        shown = page.evaluate(
            """() => { const [row, box] = [document.querySelector("tr.current"), $("scroll")]
              .map((element) => element.getBoundingClientRect());
              return row.top >= box.top && row.bottom <= box.bottom; }"""
        )
        assert shown


@pytest.mark.parametrize("width, scheme", [(1200, "dark"), (400, "light")])
def test_axe_finds_no_serious_accessibility_problem(browser, match, width, scheme):
    report = make_report(match, synthetic=True, unknown=[(7, 8)])
    with opened(browser, report, width, scheme=scheme) as page:
        press(page, "n", "d", "n", " ")
        page.click("#end-more")
        page.click("summary")
        assert accessibility_problems(page) == []
        press(page, "?")
        assert accessibility_problems(page) == []


@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_is_wider_than_its_place(browser, tmp_path, width):
    report = make_report(tmp_path / f"{'long' * 40}.mp4", long_rallies(), 7200.0)
    with opened(browser, report, width, silent=False) as page:
        press(page, "n", "d")
        for place in ("document.documentElement", "$('scroll')"):
            assert page.evaluate(f"() => {place}.scrollWidth - {place}.clientWidth") <= 0
