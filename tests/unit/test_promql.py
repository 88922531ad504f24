"""The reader of PromQL that other tests look names up with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.promql import Matcher, Selector, grouped, matchers, selectors

WORDS = st.from_regex(r"orders_[a-z]{1,8}", fullmatch=True)
VALUES = st.text('ab/{}"\\.', max_size=6)


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up == 0 or absent(up)", ["up", "up"]),
        ("sum by (a) (rate(m_total{b='c'}[5m]))".replace("'", '"'), ["m_total"]),
        ("max without (i) (min_over_time(lag[2m])) > 60", ["lag"]),
        ("histogram_quantile(0.5, sum by (le) (rate(x_bucket[$__rate_interval])))", ["x_bucket"]),
        ("a offset 5m and ignoring (part) b unless c", ["a", "b", "c"]),
        ("sum(x) by (le) / 1e3", ["x"]),
    ],
)
def test_metrics_are_what_is_no_function_and_no_operator(expression: str, metrics: list[str]) -> None:
    assert [each.metric for each in selectors(expression)] == metrics


@given(WORDS, st.lists(st.tuples(WORDS, st.sampled_from(["=", "!=", "=~", "!~"]), VALUES), max_size=3))
def test_any_selector_is_read_as_it_was_written(metric: str, given_matchers: list[tuple[str, str, str]]) -> None:
    """Braces and quotes in values are no end of anything."""
    written = [f"{label}{operator}{quoted(value)}" for label, operator, value in given_matchers]
    expression = f"sum(rate({metric}{{{', '.join(written)}}}[5m])) > 0"
    assert list(selectors(expression)) == [Selector(metric, tuple(Matcher(*each) for each in given_matchers))]


def quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def test_labels_are_those_of_every_list_and_of_no_string() -> None:
    assert grouped('sum by (a, b) (x{c="by (d)"}) / ignoring (e) sum without () (y)') == {"a", "b", "e"}


def test_what_is_no_matcher_is_an_error() -> None:
    with pytest.raises(ValueError, match="no matchers"):
        list(matchers('{a="b" c}'))
