"""Decide which role may use which tool.

Checked in this order: the role's denied tools, the access mode that the tool requires, the role's allowed
tools.  Letter case is ignored where that refuses more: ``Bash`` is denied if ``bash`` is, and requires what
``bash`` requires, but an allowed list means the names as they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])


class PermissionMode(IntEnum):
    """How much a role may touch; a higher mode includes the lower ones."""

    READ_ONLY = 1
    WORKSPACE_WRITE = 2
    FULL_ACCESS = 3


@dataclass(frozen=True, slots=True)
class PermissionOutcome:
    """Whether a tool may be used.

    Attributes:
        allowed: True when it may.
        reason: Why not, for people; None when allowed.
        active_mode: Name of the role's mode; empty for a role without a configuration.
        required_mode: Name of the mode the tool requires; empty when it was not looked at.
    """

    allowed: bool
    reason: str | None = None
    active_mode: str = ""
    required_mode: str = ""

    def to_dict(self) -> dict[str, object]:
        """Every field as a plain value."""
        return {
            "allowed": self.allowed,
            "reason": self.reason,
            "active_mode": self.active_mode,
            "required_mode": self.required_mode,
        }


class PermissionDeniedError(TechrevatiError, PermissionError):
    """A role may not use a tool; the tool did not run.

    Attributes:
        outcome: What the policy said.
    """

    def __init__(self, outcome: PermissionOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.reason or "permission denied"


@dataclass(frozen=True, slots=True)
class RolePermissionConfig:
    """What one role may do.

    Attributes:
        role: The role's name; not empty.
        mode: Its access mode.
        allowed_tools: The only tools it may use; None means any that its mode allows.
        denied_tools: Tools it may never use.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    role: str
    mode: PermissionMode
    allowed_tools: Sequence[str] | None = None
    denied_tools: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        arguments.text("role", self.role)
        object.__setattr__(self, "mode", arguments.member("mode", self.mode, PermissionMode))
        for name in ("allowed_tools", "denied_tools"):
            tools = getattr(self, name)
            if tools is None and name == "allowed_tools":
                continue
            if isinstance(tools, str) or not isinstance(tools, Iterable):
                raise TypeError(f"{name} must be a list of tool names, got {tools!r}")
            object.__setattr__(self, name, list(tools))


class PermissionPolicy:
    """What every role may do and what every tool requires.  Immutable after construction; thread-safe.

    Args:
        role_configs: One configuration a role, as a mapping by role or as an iterable; a role without one
            may use every tool.
        tool_requirements: Mode that a tool requires, by tool name; READ_ONLY for tools not named.
    """

    def __init__(
        self,
        role_configs: Mapping[str, RolePermissionConfig] | Iterable[RolePermissionConfig] | None = None,
        tool_requirements: Mapping[str, PermissionMode] | None = None,
    ) -> None:
        self._roles: dict[str, RolePermissionConfig] = {}
        for config in role_configs.values() if isinstance(role_configs, Mapping) else role_configs or ():
            if config.role in self._roles:
                raise ValueError(
                    f"role_configs must hold one configuration a role, got two for {config.role!r}"
                )
            self._roles[config.role] = config
        if isinstance(role_configs, Mapping) and set(role_configs) != set(self._roles):
            raise ValueError(f"role_configs must be keyed by role, got {sorted(map(str, role_configs))}")
        self._allowed = {
            role: None if config.allowed_tools is None else frozenset(config.allowed_tools)
            for role, config in self._roles.items()
        }
        self._denied = {
            role: {tool.lower() for tool in config.denied_tools} for role, config in self._roles.items()
        }
        self._required = {
            tool.lower(): arguments.member("tool_requirements", mode, PermissionMode)
            for tool, mode in (tool_requirements or {}).items()
        }

    def authorize(self, role: str, tool_name: str) -> PermissionOutcome:
        """Say whether *role* may use *tool_name*, and why not."""
        config = self._roles.get(role)
        if config is None:
            return PermissionOutcome(True)
        active = config.mode.name
        if tool_name.lower() in self._denied[role]:
            return PermissionOutcome(False, f"tool {tool_name!r} is denied to role {role!r}", active)
        required = self._required.get(tool_name.lower(), PermissionMode.READ_ONLY)
        if config.mode < required:
            reason = f"tool {tool_name!r} requires {required.name}, role {role!r} has {active}"
            return PermissionOutcome(False, reason, active, required.name)
        allowed = self._allowed[role]
        if allowed is not None and tool_name not in allowed:
            reason = f"tool {tool_name!r} is not among the allowed tools of role {role!r}"
            return PermissionOutcome(False, reason, active, required.name)
        return PermissionOutcome(True, None, active, required.name)


class PermissionEnforcer:
    """Asks a policy on behalf of a program."""

    __slots__ = ("policy",)

    def __init__(self, policy: PermissionPolicy) -> None:
        self.policy: PermissionPolicy = policy

    def check(self, role: str, tool_name: str) -> PermissionOutcome:
        """The policy's full answer."""
        return self.policy.authorize(role, tool_name)

    def is_allowed(self, role: str, tool_name: str) -> bool:
        """True when the policy allows it."""
        return self.policy.authorize(role, tool_name).allowed

    def filter_tools(self, role: str, callables: Iterable[F]) -> list[F]:
        """Those of *callables* that *role* may use, judged by ``__name__``; order is kept.

        Raises:
            TypeError: A callable has no name.
        """
        allowed: list[F] = []
        for tool in callables:
            name = getattr(tool, "__name__", None)
            if not isinstance(name, str):
                raise TypeError(f"callables must have a __name__, got {tool!r}")
            if self.is_allowed(role, name):
                allowed.append(tool)
        return allowed
