"""The variants of one model side by side: the whole comparison, on a model of nearly nothing."""

import sys
from pathlib import Path

import pytest

from loadtest.bench.images import Pictures
from loadtest.bench.measure import Disturbances
from loadtest.bench.variants import variants
from models.errors import UsageError
from tests.support.images import plain
from tests.support.models import tiny_model

PICTURES = Pictures([plain(0), plain(255)], "two plain ones")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_each_variant_is_served_alone_and_held_against_the_first(tmp_path: Path) -> None:
    stored = tiny_model(tmp_path / "store", precisions=("fp32", "fp16"))
    told: list[str] = []
    sheet = variants(stored, PICTURES, 0.5, 2, Disturbances(), told.append)
    assert [row[0] for row in sheet.rows] == ["fp32", "fp16"]
    assert {len(row) for row in sheet.rows} == {len(sheet.header)}
    assert all(float(row[1].replace(",", "")) > 0 for row in sheet.rows)
    assert sheet.rows[0][-1] == "1.00 x"
    assert [text.rsplit(" ", 1)[-1] for text in told[1:]] == ["fp32", "fp16", "fp16", "fp32"], "they take turns in going first"


def test_one_variant_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny/1 has fp32 only"):
        variants(tiny_model(tmp_path), PICTURES, 0.5, 1, Disturbances(), print)
