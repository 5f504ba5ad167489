"""From rounds to figures, and into a file."""

from pathlib import Path

import pytest

from loadtest.bench import facts
from loadtest.bench.contenders import FLOOR, PARALLAX, PLAIN
from loadtest.bench.jobs import Latencies, Outcome, percentile
from loadtest.bench.limit import Limit
from loadtest.bench.measure import Disturbances, Measured, Watched
from loadtest.bench.noise import Noise
from loadtest.bench.report import noise_note, replace_section, sheet_of, write_section
from loadtest.bench.speed import Comparison, LimitMeasured, Options, seconds_needed
from service.tuning import Plan

QUIET = Noise(0, 0)


def measured(rate: float, p50: float, *, cpu_s: float = 0.5, peak_mb: float = 100, others: int = 0) -> Measured:
    ok = Latencies(int(rate), p50, 2 * p50, 3 * p50, 4 * p50)
    refused = Latencies(others, 1, 1, 1, 1) if others else None
    statuses = {"200": int(rate)} | ({"429": others} if others else {})
    return Measured([Outcome("x", 1, int(rate), rate, statuses, ok, refused, 0, {})], Watched(QUIET, cpu_s, peak_mb))


def comparison() -> Comparison:
    limits = [LimitMeasured(Limit(rate, 2500, 0.5, 1.5, 2.0), Watched(QUIET, 1, 90)) for rate in (900.0, 1000.0, 400.0)]
    rounds = {
        (PARALLAX, 1): [measured(300, 2.5), measured(320, 2.4), measured(100, 9)],
        (PARALLAX, 8): [measured(810, 9, peak_mb=150), measured(800, 9), measured(790, 9)],
        (PLAIN, 1): [measured(200, 4)] * 3,
        (PLAIN, 8): [measured(400, 20)] * 3,
        (FLOOR, 1): [measured(3000, 0.3)] * 3,
        (FLOOR, 8): [measured(9000, 0.9)] * 3,
    }
    return Comparison("cnn", "fp32", "64 images, 64 used", Plan(batch_size=1, lanes=2, threads=1), limits, rounds)


def test_a_row_holds_medians_and_ratios_of_medians() -> None:
    rows = {(row[0], row[1]): row[2:] for row in sheet_of(comparison()).rows}
    assert rows["in-process limit", ""] == ["900", "400 to 1,000", "2.00", "", "2,500", "90", "", ""]
    assert rows[PARALLAX, "1"] == ["300", "100 to 320", "2.50", "7.50", "1,667", "100", "33%", "1.50 x"]
    assert rows[PARALLAX, "8"] == ["800", "790 to 810", "9.00", "27.00", "625", "150", "89%", "2.00 x"]
    assert rows[PLAIN, "8"][-2:] == ["44%", ""]
    assert rows[FLOOR, "1"][-2:] == ["", ""]


def test_the_overhead_stands_next_to_the_floor() -> None:
    text = "\n".join(sheet_of(comparison()).notes)
    assert "2.50 ms, decoding and inference alone take 2.00 ms: 0.50 ms more" in text
    assert "does nothing, is 0.30 ms" in text


def test_who_is_quicker_than_the_limit_alone_is_said_to_take_less() -> None:
    found = comparison()
    found.rounds[PARALLAX, 1] = [measured(300, 1.7)] * 3
    assert "decoding and inference alone take 2.00 ms: 0.30 ms less, for" in "\n".join(sheet_of(found).notes)


def test_without_one_connection_there_is_no_overhead_to_tell() -> None:
    found = comparison()
    found.rounds = {key: rounds for key, rounds in found.rounds.items() if key[1] == 8}
    assert "alone take" not in "\n".join(sheet_of(found).notes)


def test_refusals_are_told() -> None:
    found = comparison()
    found.rounds[PARALLAX, 8][1] = measured(800, 9, others=7)
    assert "Parallax at 8: 7 replies were not 200, 0 requests got none." in sheet_of(found).notes


def test_markdown_has_as_many_cells_in_every_row() -> None:
    lines = [line for line in sheet_of(comparison()).markdown().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 7
    assert len({line.count("|") for line in lines}) == 1


def test_disturbed_rounds_are_told() -> None:
    assert noise_note(Disturbances(10, 0, 0)) == "0 of 10 rounds were spoiled by other load on the machine."
    assert "4 of 10 rounds" in noise_note(Disturbances(10, 4, 1))
    assert "3 of them were measured again, 1 kept" in noise_note(Disturbances(10, 4, 1))
    assert "kept" not in noise_note(Disturbances(10, 4, 0))


def test_a_section_is_replaced_and_the_rest_stays() -> None:
    text = (
        "# Benchmarks\n\nBefore.\n\n<!-- bench: speed -->\nold\n<!-- end of bench -->\n\nAfter.\n"
        "<!-- bench: overload -->\nx\n<!-- end of bench -->\n"
    )
    assert replace_section(text, "speed", "new\n") == text.replace("old", "new")
    assert replace_section(text, "overload", "y") == text.replace("\nx\n", "\ny\n")
    assert replace_section(replace_section(text, "speed", "new"), "speed", "old") == text


def test_a_new_section_is_added_at_the_end() -> None:
    assert replace_section("# A\n", "speed", "new") == "# A\n\n<!-- bench: speed -->\nnew\n<!-- end of bench -->\n"


@pytest.mark.parametrize("rest", ["", "<!-- bench: overload -->\nx\n<!-- end of bench -->\n"])
def test_a_section_without_an_end_is_not_guessed(rest: str) -> None:
    with pytest.raises(ValueError, match="has no"):
        replace_section(f"<!-- bench: speed -->\nold\n{rest}", "speed", "new")


def test_a_file_is_made_if_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    write_section(path, "speed", "one")
    write_section(path, "speed", "two")
    assert path.read_text() == "# Benchmarks\n\n<!-- bench: speed -->\ntwo\n<!-- end of bench -->\n"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1, 50, 90, 99, 100]
    assert percentile([7.0], 0.99) == 7
    assert percentile([1.0, 2.0], 0.99) == 2


def test_a_command_is_told_without_paths() -> None:
    arguments = ["speed", "--rounds", "2", "--images", "/home/someone/set.zip", "--store=/srv/models", "--write", "docs/x.md"]
    assert facts.command(arguments) == (
        "python -m loadtest.bench speed --rounds 2 --images set.zip --store=models --write docs/x.md"
    )


def test_a_tree_without_git_has_no_commit(tmp_path: Path) -> None:
    assert facts.commit(tmp_path) == "unknown"


def test_the_time_that_is_needed() -> None:
    one = seconds_needed(Options(seconds=3, rounds=1, concurrency=[1], cpus=2), 1)
    assert seconds_needed(Options(seconds=3, rounds=5, concurrency=[1], cpus=2), 2) == pytest.approx(10 * one)
    assert one > 4 * 3
