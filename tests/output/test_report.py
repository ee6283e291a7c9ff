"""The Python side of the report: addresses, safe data, thinning, and the data of the page."""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pandas as pd
import pytest

from conftest import write_video
from files import UserError
from media.proxy import has_proxy, proxy_path
from output import report
from output.report import (
    Facts,
    prepare_video,
    save_report,
    thin_probabilities,
    video_url,
)
from web.page import read_page

NOTHING = (np.array([]), np.array([]))


def table(*rows):
    columns = ["start_sec", "end_sec", "duration_sec", "confidence"]
    filled = [(start, end, end - start, sure) for start, end, sure in rows]
    return pd.DataFrame(filled, columns=columns)


def data_in(page):
    """Returns the data in a page as a browser finds it."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    return json.loads(found[1])


@pytest.mark.parametrize(
    "name", ["final.mp4", "a b#c?d%20e.mp4", "Finale März 羽毛球.mp4", "x:y.mp4", "'\"<&>.mp4"]
)
def test_the_address_leads_from_the_folder_to_the_video(tmp_path, name):
    video, folder = tmp_path / name, tmp_path / "final_rallies"
    address = video_url(video, folder)
    assert address.startswith("../") and ":" not in address
    found = urlsplit(urljoin((folder / "report.html").as_uri(), address))
    assert unquote(found.path) == str(video) and not found.query and not found.fragment


def test_the_address_is_relative_across_folders_that_move_together(tmp_path):
    assert video_url(tmp_path / "in/a.mp4", tmp_path / "out/b") == "../../in/a.mp4"
    assert video_url(tmp_path / "b/a.mp4", tmp_path / "b") == "a.mp4"


def test_a_video_that_shares_no_folder_has_a_whole_address():
    assert video_url(Path("/media/a b.mp4"), Path("/home/out")) == "file:///media/a%20b.mp4"


def test_a_symbolic_link_in_an_address_is_not_resolved(tmp_path):
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk/deep")
    assert video_url(tmp_path / "link/a.mp4", tmp_path / "link/out") == "../a.mp4"


def test_no_name_can_end_the_script_element(tmp_path):
    name = "<script><!--\u2028 REPORT_DATA.mp4"
    facts = Facts(model="</script>", settings={"a": "\u2029<b>"})
    page = save_report(tmp_path, tmp_path / name, table(), NOTHING, 5.0, facts)
    assert data_in(page)["name"] == name
    assert data_in(page)["facts"] == [["model", "</script>"], ["a", "\u2029<b>"]]
    text, empty = page.read_text(encoding="utf-8"), read_page(report.TEMPLATE)
    assert text.count("</script>") == empty.count("</script>")
    assert not {"\u2028", "\u2029"} & set(text)


def test_the_page_needs_no_network():
    text = read_page(report.TEMPLATE)
    assert (
        re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)[^"']*|https?://|@import|url\(""", text)
        == []
    )


def test_the_rallies_are_those_of_the_table(tmp_path):
    rallies = table((1.23456, 4.0, 0.912345), (4.0, 6.5, np.nan))
    page = save_report(tmp_path / "new", tmp_path / "m.mp4", rallies, NOTHING, 9.0, Facts(), 0.5)
    assert page == tmp_path / "new" / "report.html"
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    data = data_in(page)
    assert data["rallies"] == [[1.235, 4.0, 0.9123], [4.0, 6.5, None]]
    assert (data["duration_sec"], data["offset_sec"], data["synthetic"]) == (9.0, 0.5, False)


def test_the_browser_keeps_changes_under_a_key_of_these_rallies_only(tmp_path):
    def key(name, *rows):
        return data_in(save_report(tmp_path, tmp_path / name, table(*rows), NOTHING, 9.0, Facts()))[
            "key"
        ]

    assert key("a.mp4", (1, 2, 0.5)) == key("a.mp4", (1, 2, 0.5))
    assert (
        len({key("a.mp4", (1, 2, 0.5)), key("b.mp4", (1, 2, 0.5)), key("a.mp4", (1, 3, 0.5))}) == 3
    )


def test_a_proxy_is_shown_with_the_name_of_the_match(tmp_path):
    page = save_report(tmp_path, tmp_path / "a.mkv.proxy.mp4", table(), NOTHING, 9.0, Facts())
    assert data_in(page)["name"] == "a.mkv" and data_in(page)["url"] == "a.mkv.proxy.mp4"


def test_facts_are_listed_as_text(tmp_path):
    settings = {"threshold": 0.5, "smooth_sec": 1}
    facts = Facts("best_model.pth", "", True, 25, 12.34, [(3, 4)], settings)
    data = data_in(save_report(tmp_path, tmp_path / "a.mp4", table(), NOTHING, 9.0, facts))
    assert data["facts"] == [
        ["model", "best_model.pth"],
        ["speed", "12.3 times real time"],
        ["threshold", "0.5"],
        ["smooth sec", "1"],
    ]
    assert data["synthetic"] is True and data["frame_sec"] == 0.04 and data["unknown"] == [[3, 4]]


def test_probabilities_are_thinned_to_means_of_five_a_second():
    times = np.arange(0, 60, 0.04)
    probs = np.random.default_rng(0).random(len(times))
    thin_sec, thin = thin_probabilities(times, probs)
    assert len(thin) == 300
    np.testing.assert_allclose(thin, probs.reshape(300, 5).mean(1))
    np.testing.assert_allclose(thin_sec, times.reshape(300, 5).mean(1))


@pytest.mark.parametrize("step_sec", [0.2, 0.25, 0.5, 1.0])
def test_probabilities_that_are_thin_already_stay_the_same(step_sec):
    times = np.arange(3000) * step_sec + 0.5
    thin_sec, thin = thin_probabilities(times, times / 5000)
    np.testing.assert_allclose(thin_sec, times)
    np.testing.assert_allclose(thin, times / 5000)


def test_unknown_values_stay_unknown_when_thinned():
    times, probs = np.arange(0, 10, 0.1), np.full(100, 0.5)
    probs[41] = np.nan
    _, thin = thin_probabilities(times, probs)
    assert np.flatnonzero(np.isnan(thin)).tolist() == [20]


def test_times_and_probabilities_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 times for 2"):
        thin_probabilities(np.arange(3), np.arange(2))


@pytest.mark.parametrize("hours", [2, 6])
def test_a_long_match_makes_a_page_of_less_than_a_megabyte(tmp_path, hours):
    times = np.arange(0, hours * 3600, 1 / 30)
    probs = np.random.default_rng(0).random(len(times))
    rallies = table(*[(30.123 * k, 30.123 * k + 9.456, 0.98765) for k in range(100 * hours)])
    page = save_report(tmp_path, tmp_path / "a.mp4", rallies, (times, probs), hours * 3600, Facts())
    assert page.stat().st_size < 1_000_000
    assert len(data_in(page)["percent"]) <= report.MOST_VALUES + 1


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*report.html"):
        save_report(tmp_path / "file", tmp_path / "a.mp4", table(), NOTHING, 5.0, Facts())


def test_a_video_that_browsers_play_needs_no_proxy(tmp_path, video):
    assert prepare_video(video, tmp_path, pytest.fail) == (video, 0.0)


def test_another_video_gets_a_proxy_which_is_made_once(tmp_path):
    video = write_video(tmp_path / "a.mkv", "30", 30)
    shares = []
    assert prepare_video(video, tmp_path, shares.append) == (proxy_path(video), 0.0)
    assert has_proxy(video) and shares[-1] == 1.0
    assert prepare_video(video, tmp_path, pytest.fail) == (proxy_path(video), 0.0)


def test_a_proxy_that_cannot_be_written_beside_its_video_is_reported(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mkv", "30", 30)

    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(report.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"a.mkv: .*Matroska.* is not writable \(Read-only"):
        prepare_video(video, tmp_path / "out", pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
