import re

import pytest

from cli import split_address
from files import UserError


@pytest.mark.parametrize(
    ("ray_option", "names", "expected"),
    [
        (None, ["Data/train"], (None, ["Data/train"])),
        ("", ["Data/train"], ("", ["Data/train"])),
        ("Data/train", [], ("", ["Data/train"])),
        ("10.0.0.5:6379", ["m"], ("10.0.0.5:6379", ["m"])),
        ("ray://head:10001", ["m"], ("ray://head:10001", ["m"])),
        ("s3://bucket/train", [], ("", ["s3://bucket/train"])),
        ("auto", ["m"], ("auto", ["m"])),
    ],
)
def test_the_address_may_be_left_out_before_a_folder(ray_option, names, expected):
    assert split_address(ray_option, names) == expected


@pytest.mark.parametrize("name", ["10.0.0.5", "cluster-head", "[::1]:6379"])
def test_a_word_that_is_neither_a_path_nor_an_address_is_an_error(name):
    with pytest.raises(
        UserError, match=f"--ray {re.escape(name)}: no such file or folder; .* HOST:PORT"
    ):
        split_address(name, ["Data/train"])
