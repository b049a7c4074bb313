"""What every module relies on: no credential in a text, no nonsense in an argument."""

from __future__ import annotations

import importlib
import logging
import sys
from decimal import Decimal
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime._core import arguments
from techrevati.runtime._core.clock import iso_utc
from techrevati.runtime._core.lazy import lazy_names
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import MAX_TEXT_LENGTH, scrubbed

LETTERS = "abcdefghijABCDEFGHIJ0123456789kLmNoPqR"  # what stands for the secret part of every key below
HEX = "0123456789abcdef0123456789abcdef"

KEYS = {
    "openai": f"sk-{LETTERS}",
    "openai project": f"sk-proj-{LETTERS}_{LETTERS}-T3BlbkFJ",
    "openai service account": f"sk-svcacct-{LETTERS}",
    "anthropic": f"sk-ant-api03-{LETTERS}-{LETTERS}_AA",
    "openrouter": f"sk-or-v1-{HEX}{HEX}",
    "deepseek": f"sk-{HEX}",
    "langfuse": "sk-lf-01234567-89ab-cdef-0123-456789abcdef",
    "google": "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "google oauth": f"ya29.a0{LETTERS}_{LETTERS}",
    "aws access key": "AKIAIOSFODNN7EXAMPLE",
    "aws temporary key": "ASIAIOSFODNN7EXAMPLE",
    "github": f"ghp_{LETTERS[:36]}",
    "github app": f"ghs_{LETTERS[:36]}",
    "github fine-grained": f"github_pat_11ABCDEFG0{LETTERS}_{LETTERS}",
    "gitlab": "glpat-0123456789abcdefghij",
    "slack": "xoxb-123456789012-1234567890123-abcdefghijABCDEFGHIJ0123",
    "sendgrid": f"SG.{LETTERS[:22]}.{(LETTERS + HEX)[:43]}",
    "npm": f"npm_{(LETTERS + HEX)[:36]}",
    "xai": f"xai-{LETTERS}{LETTERS}",
    "groq": f"gsk_{LETTERS}0123456789abcd",
    "hugging face": f"hf_{LETTERS[:34]}",
    "perplexity": f"pplx-{LETTERS}{HEX}",
    "replicate": f"r8_{LETTERS[:37]}",
    "nvidia": f"nvapi-{LETTERS}_{LETTERS}",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{LETTERS}",
}

PLACES = {
    "authorization header": f"Authorization: Bearer {LETTERS}",
    "basic authorization": "authorization: Basic dXNlcjpodW50ZXIyaHVudGVyMg==",
    "bearer alone": f"sent with bearer {LETTERS}",
    "header dict": f"{{'Authorization': 'Bearer {LETTERS}', 'Accept': '*/*'}}",
    "header bytes": f"{{b'authorization': b'Bearer {LETTERS}'}}",
    "header pairs": f"[(b'authorization', b'Bearer {LETTERS}')]",
    "x-api-key": f"x-api-key: {HEX}",
    "x-api-key dict": f"{{'x-api-key': '{HEX}'}}",
    "x-api-key pairs": f"[('x-api-key', '{HEX}'), ('accept', '*/*')]",
    "azure api-key": f"api-key: {HEX}",
    "azure subscription": f"Ocp-Apim-Subscription-Key: {HEX}",
    "google header": f"x-goog-api-key: {HEX}",
    "keyword": f"Client(api_key='{HEX}', timeout=3)",
    "json": f'{{"api_key": "{HEX}", "model": "m"}}',
    "json camel": f'{{"apiKey": "{HEX}"}}',
    "environment": f"OPENAI_API_KEY={HEX}",
    "azure environment": f"AZURE_OPENAI_API_KEY: '{HEX}'",
    "aws secret": f"aws_secret_access_key = {LETTERS}",
    "aws secret json": f'{{"SecretAccessKey": "{LETTERS}"}}',
    "client secret": f"client_secret={LETTERS}",
    "access token": f"access_token={LETTERS}&expires=60",
    "refresh token": f'"refresh_token": "{LETTERS}"',
    "auth token": f"auth_token: {LETTERS}",
    "password": "password=hunter2hunter2",
    "password json": '{"user": "me", "password": "hunter2hunter2"}',
    "db password": "DB_PASSWORD=hunter2hunter2",
    "url user": "postgresql://me:hunter2hunter2@db.example/x",
    "url key": f"GET https://api.example/v1/models?key={HEX}&alt=json",
    "url api key": f"https://api.example/v1?api_key={HEX}",
    "url signature": f"https://files.example/a?sig={LETTERS}&se=1",
}
SECRETS = (LETTERS, HEX, "hunter2hunter2", "dXNlcjpodW50ZXIyaHVudGVyMg==")

ORDINARY = [
    "",
    "Connection refused by api.example:443 after 3 attempts",
    "429 Too Many Requests: retry in 20s (limit 90000 tokens/min)",
    "input_tokens=1000 output_tokens=200 max_tokens: 4096",
    "the model claude-3-5-sonnet-20241022 is overloaded",
    "request id req_011CQ8abcdefghijk, trace 0123456789abcdef",
    "api_key is missing; set the environment variable",
    "no api key was given",
    "the password is wrong",
    "risk-averse task-oriented disk-based scikit-learn sk-learn",
    "GET https://api.example/v1/chat?limit=5&keyword=tokens",
    "https://example.com:8080/path@v2 and me@example.com",
    "tokens: 12, key: none of them, monkey: 7",
    "run 3f2a-9c1d in phase 'draft' (writer-draft-0a1b2c3d)",
    "C:\\Users\\me\\file.txt, 12:30:45, a:b@c",
    "Überraschung — 価格は十円です",
]


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "Incorrect API key provided: {}. See the docs.",
        "('{}',)",
        "key={}\nnext",
        '"{}"',
        "https://x/{}?a=1",
    ],
)
def test_keys_are_known_by_their_shape(name: str, frame: str) -> None:
    """Wherever they stand; the words around them stay."""
    key = KEYS[name]
    text = scrubbed(frame.format(key))
    assert key not in text
    for start in range(len(key) - 12):
        assert key[start : start + 12] not in text.replace("[redacted]", "")
    assert "[redacted]" in text
    for word in frame.replace("{}", " ").split()[:1]:
        if word.isalpha():
            assert word in text


@pytest.mark.parametrize("name", PLACES)
def test_secrets_are_known_by_their_place(name: str) -> None:
    """Behind the name of a credential, in a header, a URL, JSON or a repr, anything is one."""
    text = scrubbed(f"call failed: {PLACES[name]}")
    assert not [secret for secret in SECRETS if secret in text], text
    assert text.startswith("call failed: ")
    assert "[redacted]" in text


def test_what_stands_beside_a_secret_stays() -> None:
    """Only the secret goes."""
    assert scrubbed(f"{{'Authorization': 'Bearer {LETTERS}', 'Accept': '*/*'}}").endswith(
        "', 'Accept': '*/*'}"
    )
    assert scrubbed(f"Client(api_key='{HEX}', timeout=3)").endswith("', timeout=3)")
    assert scrubbed(f"https://x/?key={HEX}&alt=json") == "https://x/?key=[redacted]&alt=json"
    assert scrubbed("postgresql://me:hunter2@db/x") == "postgresql://me:[redacted]@db/x"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_changed(text: str) -> None:
    """Words that look a little like keys stay."""
    assert scrubbed(text) == text


@given(st.text(max_size=200))
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    """It is idempotent, never longer than its limit, and knows every character."""
    once = scrubbed(text)
    assert scrubbed(once) == once
    assert len(once) <= MAX_TEXT_LENGTH


@given(
    st.lists(
        st.sampled_from(["the", "model", "said", "token", "key", "42", "9.5", "no", "—", "ok,"]), max_size=40
    )
)
def test_plain_words_stay(words: list[str]) -> None:
    """A sentence without a credential is not touched."""
    text = " ".join(words)
    assert scrubbed(text) == text


@given(st.text(max_size=60), st.sampled_from(sorted(KEYS)), st.text(max_size=60))
def test_no_surroundings_hide_a_key(before: str, name: str, after: str) -> None:
    """Whatever stands before and behind, with a space between, the key goes."""
    assert KEYS[name] not in scrubbed(f"{before} {KEYS[name]} {after}")


@pytest.mark.parametrize("length", [1_990, 1_999, 2_000, 3_980, 3_990, 3_999, 4_000, 1_000_000])
def test_long_texts_are_cut_and_cutting_shows_no_half_key(length: int) -> None:
    """At most 2,000 characters, marked, and no piece of a key at the edge."""
    text = scrubbed("x" * (length - 10) + " " + KEYS["openai"] + " " + KEYS["aws access key"])
    assert len(text) <= MAX_TEXT_LENGTH
    assert "abcdefghij" not in text
    if length > MAX_TEXT_LENGTH + 10:
        assert text.endswith("…")


def test_scrubbing_is_not_slow_on_hostile_text() -> None:
    """Long runs that almost match take no backtracking: these end at once or not in this century."""
    for piece in ("sk-", "eyJ", "Bearer ", "authorization: ", "://a:", "api_key=", "?key=", "'\"", "AIza-"):
        assert len(scrubbed(piece * 5_000)) <= MAX_TEXT_LENGTH


# --- arguments ---------------------------------------------------------------------------------------------


@given(st.integers(0, 10**30))
def test_counts_pass(value: int) -> None:
    """Whole numbers come back as they are, integral floats as integers."""
    assert arguments.count("n", value) == value
    small = value % 10**9
    assert type(arguments.count("n", float(small))) is int
    assert arguments.count("n", float(small)) == small


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, ValueError),
        (0, ValueError),
        (1.5, TypeError),
        (float("nan"), TypeError),
        (float("inf"), TypeError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (Decimal(1), TypeError),
    ],
)
def test_wrong_counts_name_argument_bound_and_value(value: Any, kind: type[Exception]) -> None:
    """All three stand in the text."""
    with pytest.raises(kind) as caught:
        arguments.count("threshold", value, minimum=1)
    for part in ("threshold", ">= 1", repr(value)):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, Decimal("0.1"), Fraction(1, 3), 10**300])
def test_numbers_pass(value: Any) -> None:
    """Every real number type, as a float."""
    assert arguments.number("seconds", value) == float(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-0.1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (float("-inf"), ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("Infinity"), ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (1j, TypeError),
    ],
)
def test_wrong_numbers_name_argument_bound_and_value(value: Any, kind: type[Exception]) -> None:
    """All three stand in the text."""
    with pytest.raises(kind) as caught:
        arguments.number("seconds", value)
    for part in ("seconds", ">= 0", repr(value)):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [10**400, Decimal("sNaN")])
def test_numbers_beyond_a_float_are_refused_like_any_other(value: Any) -> None:
    """Too large, or a signalling NaN: a ValueError that names the argument."""
    with pytest.raises(ValueError, match="seconds"):
        arguments.number("seconds", value)


def test_infinity_where_it_is_allowed() -> None:
    """Only positive, only when asked for."""
    assert arguments.number("seconds", float("inf"), infinite=True) == float("inf")
    with pytest.raises(ValueError, match="seconds"):
        arguments.number("seconds", float("-inf"), infinite=True)


@pytest.mark.parametrize(
    ("value", "kind"), [("", ValueError), (" \t\n", ValueError), (None, TypeError), (b"x", TypeError)]
)
def test_names_are_text(value: Any, kind: type[Exception]) -> None:
    """Not empty, not blank; the text names the argument and the value."""
    assert arguments.text("role", "writer") == "writer"
    with pytest.raises(kind, match="role") as caught:
        arguments.text("role", value)
    assert repr(value) in str(caught.value)


def test_functions_are_callable() -> None:
    """Anything else is a TypeError that names the argument."""
    assert arguments.function("clock", len) is len
    with pytest.raises(TypeError, match="clock"):
        arguments.function("clock", 7)  # type: ignore[arg-type]


# --- the rest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000+00:00"),
        (1_778_760_000.0, "2026-05-14T12:00:00.000000+00:00"),
        (1_778_760_000.25, "2026-05-14T12:00:00.250000+00:00"),
    ],
)
def test_times_are_written_in_one_width(seconds: float, text: str) -> None:
    """Always UTC, always six decimals, so that texts sort as times do."""
    assert iso_utc(seconds) == text


def test_lazy_names_load_once_and_fail_like_attributes() -> None:
    """A name is loaded from its home, kept in the package, and unknown ones are AttributeErrors."""
    package = ModuleType("lazy_example")
    package.__path__ = []  # type: ignore[attr-defined]
    home = ModuleType("lazy_example.home")
    home.thing = object()  # type: ignore[attr-defined]
    sys.modules.update({"lazy_example": package, "lazy_example.home": home})
    try:
        get, names = lazy_names("lazy_example", {"thing": "home"}, ["home"])
        assert get("thing") is home.thing
        assert vars(package)["thing"] is home.thing
        assert get("home") is home
        assert {"thing", "home"} <= set(names())
        with pytest.raises(AttributeError, match="nothing"):
            get("nothing")
    finally:
        del sys.modules["lazy_example"], sys.modules["lazy_example.home"]


def test_a_logger_gets_its_null_handler_once() -> None:
    """However often it is asked for, and handlers of the program stay."""
    mine = logging.StreamHandler()
    first = logger("example")
    first.addHandler(mine)
    assert logger("example") is first
    kinds = [type(handler) for handler in first.handlers]
    assert kinds.count(logging.NullHandler) == 1
    assert mine in first.handlers
    first.handlers.clear()


def test_reloading_a_module_keeps_one_handler() -> None:
    """As interactive sessions do."""
    module = importlib.import_module("techrevati.runtime._core.log")
    module.announce("example")
    module.announce("example")
    assert len(logging.getLogger("techrevati.runtime.example").handlers) == 1
    logging.getLogger("techrevati.runtime.example").handlers.clear()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**400, "x", True])
def test_a_positive_number_is_asked_for_in_one_way(value: Any) -> None:
    """Whatever is wrong with it, the message names the same bound; a share likewise."""
    with pytest.raises((TypeError, ValueError), match=r"^speed must be a number > 0(,| that)"):
        arguments.positive("speed", value)
    with pytest.raises((TypeError, ValueError), match=r"^part must be a number > 0 and <= 1(,| that)"):
        arguments.share("part", value)
