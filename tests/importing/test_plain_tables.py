import pytest

from files import UserError
from importing.formats import list_matches, read_labels


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels" / "mine.csv"
    path.parent.mkdir()
    return path


def test_each_video_of_a_plain_table_is_a_match(table):
    table.write_text(
        "video,start_sec,end_sec,group\n"
        "final.mp4,30,40,hall\n"
        "https://youtu.be/abcdefghijk,5,6.25,\n"
        "final.mp4,10,20.5,hall\n"
    )
    final, other = list_matches([table.parent])
    assert read_labels(final).truth.rallies == [(10.0, 20.5), (30.0, 40.0)]
    assert (final.plain_name, final.group, final.address) == ("final", "hall", "")
    assert final.video == str(table.parent / "final.mp4")
    assert read_labels(other).truth.rallies == [(5.0, 6.25)]
    assert (other.address, other.group) == (
        "https://www.youtube.com/watch?v=abcdefghijk",
        "abcdefghijk",
    )


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("a.mp4,10,x", "a.mp4,10,x: the times must be two numbers"),
        ("a.mp4,10,inf", "the times must be two numbers"),
        ("a.mp4,10,20\na.mp4,15,25", "overlaps"),
        ("a.mp4,20,10", "must end after its start"),
    ],
)
def test_times_that_cannot_be_rallies_are_named(table, rows, why):
    table.write_text(f"video,start_sec,end_sec\n{rows}\n")
    (match,) = list_matches([table])
    with pytest.raises(UserError, match=why):
        read_labels(match)


def test_a_row_without_video_and_a_video_in_two_groups_are_refused(table):
    table.write_text("video,start_sec,end_sec\n,1,2\n")
    with pytest.raises(UserError, match="a row has no video"):
        list_matches([table])
    table.write_text("video,start_sec,end_sec,group\na.mp4,1,2,x\na.mp4,3,4,y\n")
    with pytest.raises(UserError, match="a.mp4 has the groups x, y"):
        list_matches([table])


def test_a_folder_in_no_known_format_is_refused(table, tmp_path):
    table.write_text("sequence,label\nseq_00001,1\n")
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(5000))
    for path in (table, table.parent, film):
        with pytest.raises(UserError, match="holds no labels in a known format"):
            list_matches([path])
    with pytest.raises(UserError, match="no such folder"):
        list_matches([tmp_path / "nowhere"])


def test_a_table_without_rows_is_an_error_that_says_so(table):
    table.write_text("video,start_sec,end_sec\n")
    with pytest.raises(UserError, match=r"no match is listed in .*mine\.csv: no table has rows"):
        list_matches([table])
