"""The researcher's tools: list, search and read the files of one folder, as a model sees and calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.permissions import PermissionMode, PermissionPolicy, RolePermissionConfig

if TYPE_CHECKING:
    from techrevati.runtime.cli.chat_client import ToolCall
    from techrevati.runtime.cli.folder import Folder


class ToolCallError(TechrevatiError, ValueError):
    """A model called a tool in a way that cannot be carried out."""


def _offer(name: str, description: str, parameter: str = "", meaning: str = "") -> dict[str, object]:
    properties = {parameter: {"type": "string", "description": meaning}} if parameter else {}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": schema},
    }


OFFERS = (
    _offer("list_files", "The names of all files in the folder."),
    _offer("search_files", "Lines of the files that hold these words.", "query", "Words to look for."),
    _offer("read_file", "The text of one file.", "path", "The file's name, as list_files shows it."),
)
WITHOUT_TOOLS = ("writer", "editor", "abridger")
POLICY = PermissionPolicy(
    [
        RolePermissionConfig(
            "researcher", PermissionMode.READ_ONLY, ["list_files", "search_files", "read_file"]
        ),
        *(RolePermissionConfig(role, PermissionMode.READ_ONLY, []) for role in WITHOUT_TOOLS),
    ],
    {
        "write_file": PermissionMode.WORKSPACE_WRITE,
        "edit_file": PermissionMode.WORKSPACE_WRITE,
        "delete_file": PermissionMode.FULL_ACCESS,
        "run_command": PermissionMode.FULL_ACCESS,
    },
)


class Toolbox:
    """Carries out tool calls on a folder.

    Attributes:
        under_way: The call that is being carried out, for people; "" between calls.
        read: The files whose text was given out.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.under_way: str = ""
        self.read: set[str] = set()

    def describe(self, call: ToolCall) -> None:
        """Remember *call* as the one under way."""
        told = ", ".join(str(value) for value in (call.arguments or {}).values())
        self.under_way = f"{call.name} {told[:80]}".strip()

    def use(self, call: ToolCall) -> str:
        """The result of *call*, as text for the model.

        Raises:
            ToolCallError: No such tool, or its argument is missing.
            FolderError: The file cannot be read.
        """
        if call.name == "list_files":
            more = ["(and more)"] if self._folder.more else []
            return "\n".join([*self._folder.names, *more])
        if call.name == "search_files":
            hits = self._folder.search(_argument(call, "query"))
            return "\n".join(f"{hit.name}:{hit.number}: {hit.line}" for hit in hits) or "No matches."
        if call.name == "read_file":
            return self._folder.read(_argument(call, "path"))
        raise ToolCallError(f"there is no tool {call.name!r}")

    def given_out(self, call: ToolCall) -> None:
        """Note that the model got the result of *call*."""
        if call.name == "read_file":
            self.read.add(self._folder.listed_name(_argument(call, "path")))


def _argument(call: ToolCall, name: str) -> str:
    value = (call.arguments or {}).get(name)
    if not isinstance(value, str):
        raise ToolCallError(f"{call.name} needs the argument {name!r}, a text")
    return value
