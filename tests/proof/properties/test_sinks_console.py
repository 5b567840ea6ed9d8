"""Whatever a report has to say, it fits 80 columns."""

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from realtime_metrics.sinks.console import _shown, rendered
from realtime_metrics.usage import TOKEN_FIELDS
from tests.fakes.samples import response_record


def test_the_report_of_an_ordinary_answer_fits_24_lines_together_with_the_turn() -> None:
    text = rendered(_shown(response_record(cost_usd=0.00105)), Console(file=io.StringIO(), width=80))
    assert len(text.splitlines()) <= 18


@given(
    counts=st.lists(st.integers(min_value=0, max_value=10**40), min_size=len(TOKEN_FIELDS), max_size=len(TOKEN_FIELDS)),
    seconds=st.floats(min_value=0, max_value=1e12),
    usd=st.floats(min_value=0, max_value=1e30),
)
def test_any_numbers_fit_80_columns_and_none_is_cut(counts: list[int], seconds: float, usd: float) -> None:
    figures = dict(zip(TOKEN_FIELDS, counts, strict=True))
    record = response_record(**figures, duration_s=seconds, time_to_first_audio_s=seconds, cost_usd=usd)
    text = rendered(_shown(record), Console(file=io.StringIO(), width=80))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    flat = "".join(re.findall(r"[\d,.]+", text))
    for shown in (f"{record.tokens['total_tokens']:,}", f"{seconds:.3f}", f"{usd:.6f}"):
        assert shown in flat


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=300))
def test_long_names_never_break_the_frame(name: str) -> None:
    text = rendered(_shown(response_record(model=name)), Console(file=io.StringIO(), width=80))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "Response 2" in text
