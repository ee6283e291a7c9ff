"""The rules that make rallies and unknown stretches out of BadmintonDB, on SYNTHETIC files."""

import pytest
from published import address, point, write_badminton_db

from files import UserError
from importing.badminton_db import find_json, list_matches, read_labels
from importing.points import OPEN_END_SEC

NAME = "2018-27-2R16-MS-Some ONE (INA)-Other TWO (JPN)-BLIBLI Indonesia Open"
FIRST = point(100.0, 108.5, 101.25, 103.0)
LAST = point(200.0, 209.0, 201.0, None)


def truth_of(tmp_path, *points):
    folder = write_badminton_db(tmp_path, NAME, [FIRST, *points, LAST])
    return read_labels(next((folder / "json").glob("*.json"))).truth


def test_a_rally_runs_from_the_hit_of_its_serve_to_the_end_of_its_point(tmp_path):
    truth = truth_of(tmp_path, point(150, 160, 152, 153, visibility="Visible"))
    assert truth.rallies == [(101.25, 108.5), (152.0, 160.0), (201.0, 209.0)]
    assert truth.unknown == []


PARTIAL = [{"AtBegin": 150.0, "AtEnd": 152.0, "Type": "Partially Visible"}]


@pytest.mark.parametrize("visibility", [PARTIAL, "Invisible", "", None])
def test_a_point_that_is_not_visible_is_unknown_from_5_seconds_before_it(tmp_path, visibility):
    truth = truth_of(tmp_path, point(150.0, 160.0, 151.0, visibility=visibility))
    assert truth.rallies == [(101.25, 108.5), (201.0, 209.0)]
    assert truth.unknown == [(145.0, 160.0)]


def test_what_is_unknown_of_a_hidden_point_stops_at_the_neighbouring_rallies(tmp_path):
    truth = truth_of(tmp_path, point(110.0, 202.0, 111.0, visibility="Invisible"))
    assert truth.unknown == [(108.5, 201.0)]


def test_a_visible_point_without_the_hit_of_its_serve_is_unknown(tmp_path):
    assert truth_of(tmp_path, point(150.0, 160.0, None, 152.0)).unknown == [(145.0, 160.0)]
    assert truth_of(tmp_path, point(150.0, 160.0)).unknown == [(145.0, 160.0)]


@pytest.mark.parametrize(
    "without", [point(None, 160.0, None), point(150.0, None, 151.0), point("150", "160", "151")]
)
def test_of_a_point_without_times_the_whole_gap_is_unknown(tmp_path, without):
    truth = truth_of(tmp_path, without)
    assert truth.rallies == [(101.25, 108.5), (201.0, 209.0)]
    assert truth.unknown == [(108.5, 201.0)]


def test_before_the_first_and_after_the_last_rally_a_gap_is_open(tmp_path):
    hidden = point(None, None)
    folder = write_badminton_db(tmp_path, NAME, [hidden, FIRST, hidden])
    truth = read_labels(next((folder / "json").glob("*.json"))).truth
    assert truth.unknown == [(0.0, 101.25), (108.5, OPEN_END_SEC)]


def test_addresses_come_from_the_readme_and_groups_from_the_name(tmp_path):
    write_badminton_db(tmp_path, NAME.replace("2018-27", "2019-99"), [FIRST])
    write_badminton_db(tmp_path, NAME, [FIRST], video_id="YKj-_123456")
    first, second = list_matches(tmp_path / "json")
    assert (first.name, first.address) == (NAME, address("YKj-_123456"))
    assert (first.group, first.reference) == ("istora-senayan-2018-07", "BadmintonDB/2018-27")
    assert second.address == "" and second.new_group != ""


def test_the_folder_is_json_or_the_one_above(tmp_path):
    write_badminton_db(tmp_path, NAME, [FIRST])
    assert find_json(tmp_path) == tmp_path / "json" == find_json(tmp_path / "json")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.json").write_text("{}")
    assert find_json(tmp_path / "other") is None


@pytest.mark.parametrize("text", ["", "[]", '{"Point1": {}}', '{"Point1": 3}', '{"P'])
def test_another_kind_of_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="x.json is not a match of BadmintonDB"):
        read_labels(tmp_path / "x.json")
