"""What the rule for likely tokens says beside real tokenizers, those that litellm brings along."""

from __future__ import annotations

import base64
import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from techrevati.runtime._core import likely_tokens as rule
from techrevati.runtime._core.likely_tokens import likely_tokens

pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")
litellm = find_spec("litellm")
if litellm is None or not litellm.submodule_search_locations:
    pytest.skip("litellm brings the tokenizers, and is not here", allow_module_level=True)
FOLDER = Path(litellm.submodule_search_locations[0], "litellm_core_utils", "tokenizers")
ROOT = Path(__file__).parents[2]
TEXTS = {
    "Markdown": (ROOT / "README.md").read_text(encoding="utf-8"),
    "Python": Path(rule.__file__).read_text(encoding="utf-8"),
    "TOML": (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
    "prose": (ROOT / "LICENSE").read_text(encoding="utf-8"),
    "base64": base64.b64encode(random.Random(1).randbytes(6_000)).decode(),
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, object]:
    """Each counts the tokens of a text; nothing is fetched."""
    import tiktoken
    import tokenizers

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(FOLDER))
        cl100k = tiktoken.get_encoding("cl100k_base")
    claude = tokenizers.Tokenizer.from_file(str(FOLDER / "anthropic_tokenizer.json"))
    return {
        "cl100k": lambda text: len(cl100k.encode(text, disallowed_special=())),
        "Claude 2": lambda text: len(claude.encode(text).ids),
    }


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("name", ["cl100k", "Claude 2"])
def test_the_rule_is_near(kind: str, name: str, tokenizers: dict[str, object]) -> None:
    """Three quarters to five quarters of what real tokenizers count."""
    count = tokenizers[name]
    assert callable(count)
    assert 0.75 < likely_tokens(TEXTS[kind]) / count(TEXTS[kind]) < 1.25
