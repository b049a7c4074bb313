"""Permissions: denied, then mode, then allowed; a mistake in the configuration opens nothing."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.permissions import (
    PermissionEnforcer,
    PermissionMode,
    PermissionOutcome,
    PermissionPolicy,
    RolePermissionConfig,
)

TOOLS = ["read", "write", "bash", "Deploy"]
modes = st.sampled_from(PermissionMode)
tool_lists = st.lists(st.sampled_from(TOOLS), max_size=4)


@given(
    modes,
    st.none() | tool_lists,
    tool_lists,
    st.dictionaries(st.sampled_from(TOOLS), modes),
    st.sampled_from(TOOLS),
)
def test_three_rules_in_order(
    mode: PermissionMode,
    allowed: list[str] | None,
    denied: list[str],
    needs: dict[str, PermissionMode],
    tool: str,
) -> None:
    """A policy says what the three sentences say, whatever the configuration."""
    policy = PermissionPolicy([RolePermissionConfig("r", mode, allowed, denied)], needs)
    outcome = policy.authorize("r", tool)
    required = needs.get(tool, PermissionMode.READ_ONLY)
    assert outcome.active_mode == mode.name
    if tool in denied:
        assert not outcome.allowed
    elif mode < required:
        assert not outcome.allowed
        assert mode.name in str(outcome.reason)
        assert outcome.required_mode == required.name
    elif allowed is not None and tool not in allowed:
        assert not outcome.allowed
    else:
        assert outcome == PermissionOutcome(True, None, mode.name, required.name)
    assert bool(outcome.reason) is not outcome.allowed
    if not outcome.allowed:
        assert tool in str(outcome.reason)


@given(st.sampled_from(TOOLS), st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
def test_letter_case_never_opens_anything(tool: str, recased: Any) -> None:
    """A tool that is denied, or needs more than the role has, stays shut in any spelling."""
    config = RolePermissionConfig("r", PermissionMode.READ_ONLY, None, [recased(tool)])
    assert not PermissionPolicy([config]).authorize("r", tool).allowed
    weak = RolePermissionConfig("r", PermissionMode.READ_ONLY)
    needs = {tool: PermissionMode.FULL_ACCESS}
    assert not PermissionPolicy([weak], needs).authorize("r", recased(tool)).allowed


def test_roles_are_taken_as_mapping_or_list() -> None:
    """Both ways say the same."""
    config = RolePermissionConfig("r", PermissionMode.READ_ONLY, ["read"])
    for configs in ({"r": config}, [config], (one for one in [config])):
        policy = PermissionPolicy(configs)
        assert policy.authorize("r", "read").allowed
        assert not policy.authorize("r", "write").allowed


def test_a_mapping_whose_key_is_another_role_is_refused() -> None:
    """Otherwise the role of the key would have no configuration, and be allowed everything."""
    config = RolePermissionConfig("writer", PermissionMode.READ_ONLY, [])
    with pytest.raises(ValueError, match="editor"):
        PermissionPolicy({"editor": config})


def test_two_configurations_of_one_role_are_refused() -> None:
    """Otherwise a later, looser one would silently undo a strict one."""
    strict = RolePermissionConfig("writer", PermissionMode.READ_ONLY, [], ["bash"])
    loose = RolePermissionConfig("writer", PermissionMode.FULL_ACCESS)
    with pytest.raises(ValueError, match="writer"):
        PermissionPolicy([strict, loose])


def test_changing_the_lists_afterwards_changes_nothing() -> None:
    """A policy is immutable: what it was built from may go on living."""
    allowed, denied = ["read"], ["bash"]
    needs = {"write": PermissionMode.FULL_ACCESS}
    config = RolePermissionConfig("r", PermissionMode.WORKSPACE_WRITE, allowed, denied)
    configs = {"r": config}
    policy = PermissionPolicy(configs, needs)
    allowed += ["bash", "write", "search"]
    denied.clear()
    needs.clear()
    configs.clear()
    assert policy.authorize("r", "read").allowed
    for tool in ("bash", "write", "search"):
        assert not policy.authorize("r", tool).allowed


@pytest.mark.parametrize(
    ("facts", "kind", "named"),
    [
        ({"role": ""}, ValueError, "role"),
        ({"role": None}, TypeError, "role"),
        ({"mode": 7}, ValueError, "7"),
        ({"mode": "admin"}, ValueError, "admin"),
        ({"allowed_tools": "bash"}, TypeError, "allowed_tools"),
        ({"denied_tools": "bash"}, TypeError, "denied_tools"),
    ],
)
def test_wrong_configurations_are_refused(facts: dict[str, Any], kind: type[Exception], named: str) -> None:
    """At once; a string is no list of tools."""
    with pytest.raises(kind, match=named):
        RolePermissionConfig(**{"role": "r", "mode": PermissionMode.READ_ONLY, **facts})


def test_a_mode_may_be_given_by_number() -> None:
    """It becomes the member."""
    config = RolePermissionConfig("r", 2)  # type: ignore[arg-type]
    assert config.mode is PermissionMode.WORKSPACE_WRITE


def test_wrong_requirements_are_refused() -> None:
    """A mode that does not exist is no requirement."""
    with pytest.raises(ValueError, match="9"):
        PermissionPolicy(tool_requirements={"bash": 9})  # type: ignore[dict-item]


def test_filtering_keeps_order_and_needs_names() -> None:
    """What cannot be named cannot be judged, and is refused."""

    def read() -> None: ...
    def bash() -> None: ...
    def write() -> None: ...

    config = RolePermissionConfig("r", PermissionMode.FULL_ACCESS, None, ["bash"])
    enforcer = PermissionEnforcer(PermissionPolicy([config]))
    assert enforcer.filter_tools("r", [write, bash, read]) == [write, read]
    assert enforcer.filter_tools("r", []) == []
    assert enforcer.filter_tools("other", [bash]) == [bash]
    with pytest.raises(TypeError, match="__name__"):
        enforcer.filter_tools("r", [functools.partial(bash)])
