"""The rows of a batch are the rows of its records, however many of them are alike."""

from __future__ import annotations

import sqlite3
from itertools import chain

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.ledger.record import Draft
from techrevati.runtime.ledger.tables import SCHEMA, Writer

ALIKE = Draft(
    *("", 1.79e9, "acme", "gpt-4o-mini", "openai", "ada", "s1", "r1", "measured", "book"),
    *(240_000_000, None, 1000, '{"input_tokens":1000}', "", "b1", "standard", '{"input":"0.15"}'),
)
OTHERS = (
    {},
    {"project": "beta"},
    {"failure": "timeout"},
    {"tags": '{"a": "b"}'},
    {"unit_prices": '{"input":"0.3"}'},
    {"session": "s2", "run": "r2", "user": ""},
)
COSTS = ((240_000_000, None), (0, None), (2**63 - 1, None), (None, None), (None, "1/3"))

runs = st.lists(
    st.tuples(
        st.sampled_from(OTHERS),
        st.sampled_from([1, 3, 32, 63, 64, 65, 130, 200]),
        st.lists(st.sampled_from(COSTS), min_size=1, max_size=2),
        st.sampled_from([0.0, 3600.0]),  # later each time: some runs pass midnight
    ),
    max_size=4,
)


def tables() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in chain.from_iterable(SCHEMA):
        connection.execute(statement)
    return connection


def content(connection: sqlite3.Connection) -> list[object]:
    """All rows; the sums as they add up."""
    calls = connection.execute("SELECT * FROM spend ORDER BY id").fetchall()
    prices = connection.execute("SELECT * FROM spend_price ORDER BY id").fetchall()
    days = connection.execute("SELECT * FROM spend_day").fetchall()
    sums = [(*row[:8], row[8] * 10**6 + row[9], row[10]) for row in days]
    return [calls, prices, sums]


@given(runs)
def test_together_is_as_one_after_the_other(
    asked: list[tuple[dict[str, str], int, list[tuple[int | None, str | None]], float]],
) -> None:
    drafts: list[Draft] = []
    for change, many, costs, apart_s in asked:
        for number in range(many):
            cost, exact = costs[number % len(costs)]
            at_s = ALIKE.at_s + number * apart_s
            made = ALIKE._replace(key=f"k{len(drafts):08x}", at_s=at_s, cost=cost, cost_exact=exact)
            drafts.append(made._replace(tokens=number, usage=f'{{"input_tokens":{number}}}', **change))
    together, apart = tables(), tables()
    if drafts:
        Writer().write_new(together, drafts)
    writer = Writer()
    for one in drafts:
        writer.write_new(apart, [one])
    assert content(together) == content(apart)
    together.close()
    apart.close()


def test_records_alike_take_fewer_statements() -> None:
    connection = tables()
    said: list[str] = []
    connection.set_trace_callback(said.append)
    Writer().write_new(connection, [ALIKE._replace(key=f"k{number}") for number in range(512)])
    connection.close()
    assert sum(text.startswith("INSERT INTO spend ") for text in said) == 8


@pytest.mark.parametrize("many", [1, 64, 512])
def test_the_order_of_a_batch_is_the_order_of_its_rows(many: int) -> None:
    connection = tables()
    drafts = [ALIKE._replace(key=f"k{number:04}", project=f"p{number // 100}") for number in range(many)]
    Writer().write_new(connection, drafts)
    rows = connection.execute("SELECT key, project FROM spend ORDER BY id").fetchall()
    connection.close()
    assert rows == [(one.key, one.project) for one in drafts]
