"""Allow-lists for where a tool may go: URLs and files.

An address has many spellings, and the tool may read it otherwise than a guardrail does.  So everything that
is not plain is refused: control characters, backslashes, credentials and escapes in a host, escapes that
decode to something else than they show.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments as check
from techrevati.runtime.guardrails.vocabulary import GuardrailOutcome
from techrevati.runtime.guardrails.walking import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

_ALLOWED = GuardrailOutcome(True)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}:"
# At the start of a text these are addresses though no "//" follows.
_BARE_SCHEMES = frozenset({
    "http", "https", "ws", "wss", "ftp", "ftps", "file", "data", "javascript", "vbscript", "blob", "about",
    "mailto", "gopher", "dict", "ldap", "jar",
})  # fmt: skip
_URL_FIELDS = ("url", "uri", "href", "endpoint", "link")
_PATH_FIELDS = (
    "path", "file", "filename", "file_path", "filepath", "paths", "files", "directory", "dir", "folder",
    "cwd", "source", "destination", "src", "dst", "root",
)  # fmt: skip
_MAX_DECODINGS = 5


def decoded_forms(text: str) -> list[str]:
    """*text*, and what it becomes by percent-decoding again and again.

    Raises:
        ValueError: It still changes after the fifth time.
    """
    from urllib.parse import unquote

    forms = [text]
    for _ in range(_MAX_DECODINGS):
        further = unquote(forms[-1])
        if further == forms[-1]:
            return forms
        forms.append(further)
    raise ValueError("escaped too often")


class _Field:
    """The name under which a text stands: the last key of its path."""

    @staticmethod
    def of(path: str) -> str:
        return path.rpartition(".")[2].partition("[")[0].lower()


class UrlGuardrail:
    """Lets a tool only have URLs of an allow-list, wherever in its arguments they stand.

    Looked at is every text that is a URL, every URL inside a text, and every text under one of *fields*.  An
    entry such as ``https://api.example.com/v1/`` allows this scheme, host, port and everything below the
    path; ``https://*.example.com`` every host below (not ``example.com`` itself).  Numeric hosts, in
    whatever spelling, only pass if they are listed as written.  Names are not resolved: a listed name may
    lead anywhere (DNS), and redirects are the tool's own.  Immutable; thread-safe.

    Args:
        allowed: The entries; at least one.
        fields: Names of arguments that must hold a URL.
        tools: Only for these tools; for all when None.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_allowed", "_fields", "_tools", "name")

    def __init__(
        self,
        allowed: Iterable[str],
        *,
        fields: Iterable[str] = _URL_FIELDS,
        tools: Iterable[str] | None = None,
        name: str = "urls",
    ) -> None:
        self.name: str = check.text("name", name)
        if isinstance(allowed, str):
            raise TypeError(f"allowed must be several URLs in a list, got {allowed!r}")
        self._allowed: list[tuple[str, str, int | None, str]] = []
        for entry in allowed:
            try:
                self._allowed.append(_parts(check.text("allowed", entry), pattern=True))
            except ValueError as problem:
                raise ValueError(f"allowed must be plain URLs, got {entry!r}: {problem}") from None
        if not self._allowed:
            raise ValueError("allowed must hold at least one URL, got none")
        self._fields = frozenset(field.lower() for field in fields)
        self._tools = None if tools is None else frozenset(tools)

    def check_pre(
        self, *, role: str, tool: str, arguments: Mapping[str, object] | None = None
    ) -> GuardrailOutcome:
        """Look for URLs in the arguments."""
        if arguments is None or (self._tools is not None and tool not in self._tools):
            return _ALLOWED
        for path, text in texts(arguments):
            for url in self._urls(path, text):
                problem = self._problem(url)
                if problem is not None:
                    return GuardrailOutcome(False, f"URL at {path} {problem}", rule="url", path=path)
        return _ALLOWED

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Allow: results are not addresses."""
        return _ALLOWED

    def _urls(self, path: str, text: str) -> list[str]:
        import re

        if _Field.of(path) in self._fields:
            return [text]
        # What a client strips or skips before it reads an address.
        bare = text.strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None})
        head = re.match(_SCHEME, bare)
        whole = bare.startswith(("//", "\\\\", "/\\", "\\/")) or (
            head is not None
            and (head.group()[:-1].lower() in _BARE_SCHEMES or bare[head.end() :][:1] in ("/", "\\"))
        )
        if whole and not any(blank in bare for blank in " \u00a0"):
            return [text]
        embedded: list[str] = re.findall(_SCHEME + r"[/\\]{1,}[^\s<>\"'`)\]}]+", text)
        return [text.split(None, 1)[0], *embedded] if whole else embedded

    def _problem(self, url: str) -> str | None:
        try:
            scheme, host, port, path = _parts(url)
        except ValueError as problem:
            return f"is not plain: {problem}"
        for allowed_scheme, allowed_host, allowed_port, allowed_path in self._allowed:
            if scheme == allowed_scheme and port == allowed_port and _same_host(host, allowed_host):
                if path == allowed_path or allowed_path == "/":
                    return None
                if path.startswith(allowed_path if allowed_path.endswith("/") else allowed_path + "/"):
                    return None
        return "is not on the allow-list"


def _same_host(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) and host != allowed[1:] if allowed.startswith("*.") else host == allowed


def _parts(url: str, *, pattern: bool = False) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path of a plain URL."""
    from urllib.parse import urlsplit

    if any(ord(one) <= 32 or one in "\x7f\\" for one in url):
        raise ValueError("blanks, control characters or backslashes")
    if not url.isascii():
        raise ValueError("characters beyond ASCII; write the host in punycode and escape the path")
    split = urlsplit(url)
    scheme, rest = split.scheme.lower(), url.partition(":")[2]
    if not scheme or not rest.startswith("//") or rest.startswith("///") or not split.netloc:
        raise ValueError("no scheme and host")
    if "@" in split.netloc or "%" in split.netloc:
        raise ValueError("credentials or escapes before the path")
    host = (split.hostname or "").rstrip(".")
    if not host or ("*" in host and not (pattern and host.startswith("*.") and "*" not in host[1:])):
        raise ValueError("no host")
    path = split.path or "/"
    for form in decoded_forms(path):
        if "\\" in form or any(ord(one) < 32 for one in form):
            raise ValueError("escapes in the path")
        if any(part.partition(";")[0] in (".", "..") for part in form.split("/")):
            raise ValueError("dots in the path")
    if "%2f" in path.lower():
        raise ValueError("an escaped slash in the path")
    return scheme, host, _PORTS.get(scheme) if split.port is None else split.port, path


class PathGuardrail:
    """Lets a tool only have files below some folders.

    Looked at are the texts under *fields*, whatever they look like.  A path counts as inside when it is so
    as written, percent-decoded, in compatibility form (NFKC) and with backslashes as separators, and when it
    is still so after symbolic links are followed.  Refused as such: NUL and control characters, ``~``, ``$``
    variables, drive letters and ``file:``.  A link that is made between this look and the tool's use is not
    seen; *resolve* narrows that by handing the tool the real path.  Immutable; thread-safe.

    Args:
        roots: The folders; relative paths are read from the first.  They are resolved at construction.
        fields: Names of arguments that hold a path, or a list of paths.
        tools: Only for these tools; for all when None.
        resolve: Whether each path is rewritten to the real one.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_fields", "_resolve", "_roots", "_tools", "name")

    def __init__(
        self,
        roots: Iterable[str | PathLike[str]],
        *,
        fields: Iterable[str] = _PATH_FIELDS,
        tools: Iterable[str] | None = None,
        resolve: bool = False,
        name: str = "paths",
    ) -> None:
        self.name: str = check.text("name", name)
        if isinstance(roots, (str, bytes, os.PathLike)):
            raise TypeError(f"roots must be several folders in a list, got {roots!r}")
        self._roots = [os.path.realpath(check.text("roots", os.fspath(root))) for root in roots]
        if not self._roots:
            raise ValueError("roots must hold at least one folder, got none")
        self._fields = frozenset(field.lower() for field in fields)
        self._tools = None if tools is None else frozenset(tools)
        self._resolve = resolve

    def check_pre(
        self, *, role: str, tool: str, arguments: Mapping[str, object] | None = None
    ) -> GuardrailOutcome:
        """Look at the paths in the arguments."""
        if arguments is None or (self._tools is not None and tool not in self._tools):
            return _ALLOWED
        return self._walk(arguments)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Allow: results are not addresses."""
        return _ALLOWED

    def _walk(self, arguments: Mapping[str, object]) -> GuardrailOutcome:
        for path, text in texts(_plain(arguments)):
            if _Field.of(path) in self._fields:
                problem = self._problem(text)
                if problem is not None:
                    return GuardrailOutcome(False, f"path at {path} {problem}", rule="path", path=path)
        if not self._resolve:
            return _ALLOWED
        return GuardrailOutcome.rewrite(self._resolved(_plain(arguments), False), "paths resolved")

    def _problem(self, text: str) -> str | None:
        import re
        import unicodedata

        if not text or any(ord(one) < 32 or one == "\x7f" for one in text):
            return "is empty or holds control characters"
        try:
            forms = decoded_forms(text)
        except ValueError:
            return "is escaped too often"
        forms += [unicodedata.normalize("NFKC", form) for form in forms]
        forms += [form.replace("\\", "/") for form in forms]
        for form in dict.fromkeys(forms):
            if "\0" in form or form.startswith("~") or re.search(r"\$[\w{(]|^%\w+%", form):
                return "holds what a shell would expand"
            if re.match(r"[A-Za-z]:", form) or form.lower().startswith("file:"):
                return "has a drive letter or a scheme"
            if not self._inside(form):
                return "leads outside the allowed folders"
        return None

    def _inside(self, form: str) -> bool:
        full = os.path.join(self._roots[0], form)
        if any(_below(os.path.normpath(full), root) for root in self._roots):
            return any(_below(os.path.realpath(full), root) for root in self._roots)
        # A root may be reached by another name of itself (/tmp and /private/tmp).
        return ".." not in form.split("/") and any(
            _below(os.path.realpath(full), root) for root in self._roots
        )

    def _resolved(self, value: object, is_path: bool) -> object:
        if isinstance(value, str):
            return os.path.realpath(os.path.join(self._roots[0], value)) if is_path else value
        if isinstance(value, dict):
            return {
                key: self._resolved(item, str(key).lower() in self._fields) for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return type(value)(self._resolved(item, is_path) for item in value)
        return value


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _plain(value: object) -> object:
    """*value* with path objects as their texts."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
