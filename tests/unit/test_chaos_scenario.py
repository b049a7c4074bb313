"""Scenarios: which request meets which fault, and what is wrong with a file that cannot be read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario, ScenarioError
from techrevati.runtime.chaos.scenario import Asked, Tally, decided

RATE = Fault(FaultKind.RATE_LIMIT)
DOWN = Fault(FaultKind.UNAVAILABLE)


def asked(
    model: str = "gpt-x", api: str = "openai", stream: bool = False, tokens: int = 10, at_s: float = 0.0
) -> Asked:
    return Asked(model, api, stream, tokens, at_s)


def run(rules: tuple[Rule, ...], requests: list[Asked], seed: int = 0) -> list[FaultKind | None]:
    """The faults that a sequence of requests meets."""
    tally: Tally = ()
    met: list[FaultKind | None] = []
    for one in requests:
        tally, _, fault = decided(rules, tally, one, seed)
        met.append(fault.kind if fault else None)
    return met


def hits(rule: Rule, requests: list[Asked], seed: int = 0) -> list[int]:
    """Numbers of the requests that meet the rule's fault."""
    return [number for number, kind in enumerate(run((rule,), requests, seed), 1) if kind]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(DOWN), [1, 2, 3, 4, 5, 6]),
        (Rule(DOWN, calls=((2, 3), (5, None))), [2, 3, 5, 6]),
        (Rule(DOWN, every=3), [3, 6]),
        (Rule(DOWN, times=2), [1, 2]),
        (Rule(DOWN, from_s=2.0, until_s=4.0), [3, 4]),
        (Rule(DOWN, probability=0.0), []),
        (Rule(DOWN, input_tokens_over=10), []),
        (Rule(DOWN, input_tokens_over=9), [1, 2, 3, 4, 5, 6]),
        (Rule(DOWN, requests_over=2, per_s=3.0), [3, 6]),
        (Rule(DOWN, requests_over=0, per_s=3.0), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_each_condition_selects_its_requests(rule: Rule, expected: list[int]) -> None:
    """Six requests, one a second from 0."""
    assert hits(rule, [asked(at_s=float(at)) for at in range(6)]) == expected


def test_requests_are_counted_by_what_the_rule_concerns() -> None:
    """The second call of one model is the second whatever other models do."""
    rule = Rule(DOWN, model="gpt-*", api="openai", stream=True, calls=((2, 2),))
    requests = [
        asked(stream=True),
        asked("claude", stream=True),
        asked(stream=False),
        asked(api="anthropic", stream=True),
        asked("gpt-y", stream=True),
    ]
    assert hits(rule, requests) == [5]


def test_the_first_rule_that_fits_decides() -> None:
    """Later rules still count the request."""
    rules = (Rule(RATE, calls=((1, 1),)), Rule(DOWN, calls=((1, 2),)))
    assert run(rules, [asked()] * 3) == [FaultKind.RATE_LIMIT, FaultKind.UNAVAILABLE, None]


def test_a_used_up_window_tells_its_rest() -> None:
    """The Retry-After of a real limit is the time to the next window."""
    rules = (Rule(RATE, requests_over=1, per_s=20.0),)
    tally, _, none = decided(rules, (), asked(at_s=3.0), 0)
    assert none is None
    _, rule, fault = decided(rules, tally, asked(at_s=8.0), 0)
    assert rule == 0
    assert fault is not None
    assert fault.retry_after_s == 15.0


@given(seed=st.integers(), probability=st.floats(0.2, 0.8))
def test_draws_repeat_with_their_seed(seed: int, probability: float) -> None:
    """The same seed gives the same faults, at about the share that was asked for."""
    rule = Rule(DOWN, probability=probability)
    first = hits(rule, [asked()] * 400, seed)
    assert first == hits(rule, [asked()] * 400, seed)
    assert abs(len(first) / 400 - probability) < 0.15


def test_a_script_gives_the_nth_request_the_nth_fault() -> None:
    """None and everything after the last pass."""
    scenario = Scenario.script([RATE, None, DOWN])
    assert run(scenario.rules, [asked()] * 5) == [
        FaultKind.RATE_LIMIT,
        None,
        FaultKind.UNAVAILABLE,
        None,
        None,
    ]


@pytest.mark.parametrize("name", Scenario.bundled())
def test_bundled_scenarios_load(name: str) -> None:
    """Each has its file's name, a description, and does something."""
    scenario = Scenario.load(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.rules


def test_the_six_bundled_scenarios() -> None:
    """The names are public."""
    assert Scenario.bundled() == (
        "brownout",
        "context-overflow",
        "flaky-stream",
        "outage",
        "quota-exhausted",
        "rate-limited",
    )


def test_a_whole_rule_is_read() -> None:
    """Every key with its unit."""
    text = """
name = "all"
seed = 4

[[rule]]
fault = "rate_limit"
model = "gpt-*"
api = "openai"
stream = false
calls = ["2-3", 7, "9-"]
every = 2
probability = "30%"
from = "500ms"
until = "1.5m"
times = 3
input_tokens_over = 100
requests_over = 5
per = "1h"
retry_after = "20s"
retry_after_as = "ms"
message = "slow down"

[[rule]]
fault = "tool_call"
tool = "delete_file"
arguments = { path = "x" }
"""
    scenario = Scenario.from_toml(text)
    fault = Fault(FaultKind.RATE_LIMIT, retry_after_s=20.0, retry_after_as="ms", message="slow down")
    assert scenario.seed == 4
    assert scenario.rules[0] == Rule(
        fault,
        model="gpt-*",
        api="openai",
        stream=False,
        calls=((2, 3), (7, 7), (9, None)),
        every=2,
        probability=0.3,
        from_s=0.5,
        until_s=90.0,
        times=3,
        input_tokens_over=100,
        requests_over=5,
        per_s=3600.0,
    )
    assert scenario.rules[1].fault.arguments == {"path": "x"}


HEAD = 'name = "x"\n\n[[rule]]\nfault = "unavailable"\n\n[[rule]]\n'


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ('name = "x"\ncolour = 1\n', 2, "colour", "unknown key 'colour'; allowed are name,"),
        (HEAD + 'fault = "unavailable"\nuntli = "3s"\n', 8, "untli", "rule 2: unknown key 'untli'"),
        (HEAD + 'fault = "unavailble"\n', 7, "fault", "unknown fault 'unavailble'; allowed are rate_limit,"),
        (HEAD + 'until = "3s"\n', 6, "fault", "fault is missing"),
        (HEAD + 'fault = "reset"\nfrom = 3\n', 8, "from", 'write "3s" for seconds'),
        (HEAD + 'fault = "reset"\nfrom = "3 weeks"\n', 8, "from", "unknown unit 'weeks'"),
        (HEAD + 'fault = "reset"\nfrom = "3"\n', 8, "from", "has no unit"),
        (HEAD + 'fault = "reset"\nfrom = "soon"\n', 8, "from", "got 'soon'"),
        (HEAD + 'fault = "reset"\nfrom = "9s"\nuntil = "3s"\n', 9, "until", "must be later than"),
        (HEAD + 'fault = "reset"\nprobability = 30\n', 8, "probability", "from 0 to 1"),
        (HEAD + 'fault = "reset"\nprobability = "130%"\n', 8, "probability", "from 0 to 1"),
        (HEAD + 'fault = "reset"\ncalls = "5-2"\n', 8, "calls", "ends before it starts"),
        (HEAD + 'fault = "reset"\ncalls = [0]\n', 8, "calls", "numbers start at 1"),
        (HEAD + 'fault = "reset"\nevery = 0\n', 8, "every", "every must be an integer >= 1"),
        (HEAD + 'fault = "reset"\ntimes = "3"\n', 8, "times", "without quotes"),
        (HEAD + 'fault = "reset"\nstream = "yes"\n', 8, "stream", "true or false"),
        (HEAD + 'fault = "reset"\napi = "mistral"\n', 8, "api", "openai or anthropic"),
        (HEAD + 'fault = "reset"\nmodel = ""\n', 8, "model", "non-empty text"),
        (
            HEAD + 'fault = "reset"\nrequests_over = 3\n',
            8,
            "requests_over",
            "requests_over needs per beside it",
        ),
        (HEAD + 'fault = "reset"\nper = "9s"\n', 8, "per", "per needs requests_over beside it"),
        (
            HEAD + 'fault = "reset"\nper = "0s"\nrequests_over = 1\n',
            8,
            "per",
            "per must be greater than 0, got '0s'",
        ),
        (
            HEAD + 'fault = "reset"\nfrom = "1m"\nuntil = "30s"\n',
            9,
            "until",
            "until must be later than from (1m), got '30s'",
        ),
        # Inline tables, keys that stand in strings before them, elements of arrays, dotted and quoted keys.
        (
            'rule = [\n  { fault = "reset" },\n  { fault = "reset", from = 3 },\n]\n',
            3,
            "from",
            "rule 2: from",
        ),
        (
            '[[rule]]\nfault = "says"\ntext = """\nfrom = 1\n[[rule]]\n"""\nfrom = 3\n',
            7,
            "from",
            "bare number",
        ),
        ("description = '''\ncolour = 1'''\n\ncolour = 1\n", 4, "colour", "unknown key"),
        (HEAD + 'fault = "reset"\ncalls = [\n  1, # one\n  "x",\n]\n', 10, "calls", "got 'x'"),
        (HEAD + 'fault = "reset"\n"fr\\u006fm" = 3\n', 8, "from", "bare number"),
        (HEAD + 'fault = "reset"\nfrom.x = 3\n', 8, "from", "time with a unit"),
        (HEAD + 'fault = ["reset"]\n', 7, "fault", "unknown fault ['reset']"),
        ("[rule]\nfault = 'reset'\n", 1, "rule", "got one table"),
        ("rule = [\n  {fault='reset'},\n  3 ]\n", 3, "rule", "got 3"),
        ("seed = true\n", 1, "seed", "seed must be an integer, got True"),
        (
            HEAD + 'fault = "reset"\nretry_after = "3s"\n',
            8,
            "retry_after",
            "reset does not take 'retry_after'",
        ),
        (
            HEAD + 'fault = "rate_limit"\nretry_after_as = "x"\n',
            8,
            "retry_after_as",
            "must be one of default,",
        ),
        (HEAD + 'fault = "tool_call"\narguments = 3\n', 8, "arguments", "must be a table"),
        (HEAD + 'fault = "tool_call"\n', 6, "tool", "tool must be a non-empty string"),
        ('name = "x"\nseed = "one"\n', 2, "seed", "seed must be an integer"),
        ("rule = 3\n", 1, "rule", "[[rule]]"),
        ('name = "x"\n[[rule]\n', 2, None, "not valid TOML"),
        ('name = "x\n', 1, None, "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, key: str | None, words: str) -> None:
    """Source, line, key and what is allowed stand in the message and as attributes."""
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_toml(text, "night.toml")
    error = caught.value
    assert (error.source, error.line, error.key) == ("night.toml", line, key)
    assert words in error.problem
    assert str(error) == f"night.toml, line {line}: {error.problem}"
    assert isinstance(error, TechrevatiError)
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing one, one that is no text, and a name that is not bundled."""
    with pytest.raises(ScenarioError, match="bundled are brownout, context-overflow,"):
        Scenario.load("nightmare")
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        Scenario.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b'name = "x"\n\xff')
    with pytest.raises(ScenarioError, match="line 2: is not UTF-8"):
        Scenario.load(tmp_path / "bad.toml")
    (tmp_path / "mine.toml").write_text('[[rule]]\nfault = "reset"\n')
    assert Scenario.load(str(tmp_path / "mine.toml")).name == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "rain"}, "kind must be one of rate_limit"),
        ({"kind": "reset", "delay_s": 3.0}, "delay_s is no option of reset"),
        ({"kind": "rate_limit", "retry_after_s": -1.0}, "retry_after_s must be a number >= 0, got -1.0"),
        ({"kind": "stalled_stream", "after_tokens": -1}, "after_tokens must be an integer >= 0, got -1"),
        ({"kind": "says"}, "text must be a non-empty string"),
    ],
)
def test_faults_refuse_what_they_do_not_take(options: dict[str, object], words: str) -> None:
    """The message names the option, the kind and the value."""
    with pytest.raises(ValueError, match=words):
        Fault(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"probability": 1.5}, "probability must be a number from 0 to 1, got 1.5"),
        ({"probability": float("nan")}, "probability"),
        ({"from_s": 5.0, "until_s": 5.0}, "until_s must be later than from_s"),
        ({"calls": ((3, 2),)}, "calls must be ranges"),
        ({"calls": ((0, 2),)}, "calls must be an integer >= 1"),
        ({"model": " "}, "model must be a non-empty string"),
        ({"per_s": 3.0}, "must be given together"),
        ({"requests_over": 1, "per_s": 0.0}, "per_s must be greater than 0"),
    ],
)
def test_rules_refuse_what_makes_no_sense(options: dict[str, object], words: str) -> None:
    """The message names the argument and the value."""
    with pytest.raises(ValueError, match=words):
        Rule(DOWN, **options)  # type: ignore[arg-type]


_BREAKS = {
    "from": ["3", '"3"', '"3 weeks"', '"soon"', "true", '"-3s"', "[1]"],
    "until": ["9.5", '"9"', '"1d"', "{}"],
    "probability": ["30", '"130%"', '"much"', "true", "-0.1", "nan"],
    "every": ["0", '"3"', "1.5", "-2"],
    "times": ['"3"', "-1", "true"],
    "model": ["3", '""'],
    "api": ['"mistral"', "1"],
    "stream": ['"yes"', "1"],
    "calls": ["0", '"5-2"', '"x"', "1.5", "[1, 0]"],
    "input_tokens_over": ['"9"', "-1"],
    "after_tokens": ['"9"', "-1", "2.5"],
    "delay": ["5", '"5"', '"5 sec"'],
    "fault": ['"resett"', "3", '""'],
}
_GOOD = {
    "from": ['"1s"', "'10ms'", '"0 s"'],
    "until": ['"2h"', '"61.5m"'],
    "probability": ["0.5", '"30%"', "1"],
    "every": ["3", "1_0"],
    "times": ["0", "0x1F"],
    "model": ['"gpt-*"', '"""\ngpt = [\n"""', "'''a]b'''", "'''}\n''''"],
    "api": ['"openai"'],
    "stream": ["true"],
    "calls": ["3", '"2-5"', '[\n1, # ]\n"4-",\n]', "[ ]"],
    "input_tokens_over": ["9"],
    "after_tokens": ["5"],
    "delay": ['"5s"'],
}
_NOISE = st.lists(
    st.sampled_from(["", "# from = 3", "  # [[rule]] = {", '\t# """', "# fault = 'x'"]), max_size=3
)


@st.composite
def broken_scenarios(draw: st.DrawFn) -> tuple[str, int, str]:
    """A scenario with exactly one wrong key or value; its text, the line of it, and its key."""
    lines: list[str] = []
    for each in draw(
        st.permutations(['name = "n"', "seed = -3", 'description = """\n[[rule]]\nfrom = 3\\"\n"""'])
    ):
        lines += [*draw(_NOISE), *each.split("\n")]
    inline = draw(st.booleans())
    count = draw(st.integers(1, 4))
    bad_rule = draw(st.integers(0, count - 1))
    wrong = (0, "")
    lines += ["rule = ["] if inline else []
    for number in range(count):
        lines += draw(_NOISE)
        values = {key: draw(st.sampled_from(good)) for key, good in _GOOD.items() if draw(st.booleans())}
        values["fault"] = '"stalled_stream"'
        bad = ""
        if number == bad_rule:
            bad = draw(st.sampled_from([*_BREAKS, "untli", "retry_after", "text"]))
            values[bad] = draw(st.sampled_from(_BREAKS[bad])) if bad in _BREAKS else '"3s"'
        text = "  {" if inline else draw(st.sampled_from(["[[rule]]", "  [[ rule ]] # one", '[["rule"]]']))
        for key in draw(st.permutations(sorted(values))):
            written = draw(st.sampled_from([key, f'"{key}"', f"'{key}' "]))
            if inline:  # one line, but for what strings and arrays break
                text += " " if text.endswith("{") else ", "
            else:
                text += "\n" + "".join(f"{one}\n" for one in draw(_NOISE))
            if key == bad:
                wrong = (len(lines) + text.count("\n") + 1, key)
            text += f"{written} = {values[key]}"
        lines += (f"{text} }}," if inline else text).split("\n")
    lines += ["]"] if inline else []
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + "\n", *wrong


@settings(max_examples=150, deadline=None)
@given(broken_scenarios())
def test_any_broken_scenario_names_its_line(made: tuple[str, int, str]) -> None:
    """However a scenario is written, one wrong key or value is reported with its own line and key."""
    text, line, key = made
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_toml(text)
    assert (caught.value.key, caught.value.line) == (key, line)
    assert key in caught.value.problem


def test_absurd_files_are_errors_too() -> None:
    """Arrays in arrays without end, and numbers of thousands of digits."""
    many = "9" * 5_000
    for text in (
        "a = " + "[" * 100_000,
        f"seed = {many}",
        f'[[rule]]\nfault = "reset"\ncalls = "{many}"',
        f'[[rule]]\nfault = "reset"\nfrom = "{many}s"',
    ):
        with pytest.raises(ScenarioError):
            Scenario.from_toml(text)


@pytest.mark.parametrize("seed", ["a", 1.5, True])
def test_a_seed_is_an_integer(seed: int) -> None:
    """A scenario and a server both say so."""
    with pytest.raises(TypeError, match=f"seed must be an integer, got {seed!r}"):
        Scenario(seed=seed)
    with pytest.raises(TypeError, match=f"seed must be an integer, got {seed!r}"):
        ChaosServer(seed=seed)
