"""MkDocs' hooks: adds the generated pages, and the built-ins to the navigation."""

from __future__ import annotations

from typing import Any

from builtin_pages import TITLES, file_name, registrations
from mkdocs.structure.files import File, Files
from pages import pages


def on_config(config: Any) -> Any:
    """Replace the entry "Built-in plugins" by one page for each, kind by kind."""
    for entry in config.nav:
        for items in entry.values():
            for item in items if isinstance(items, list) else ():
                if "Built-in plugins" in item:
                    item["Built-in plugins"] = built_in()
    return config


def built_in() -> list[Any]:
    """The part of the navigation that lists the built-ins."""
    groups: dict[str, list[dict[str, str]]] = {title: [] for title in TITLES.values()}
    for each in registrations():
        kind, name = each.spec.kind, each.spec.name
        groups[TITLES[kind]].append({name: f"reference/builtins/{file_name(kind, name)}"})
    return ["reference/builtins/index.md", *({title: items} for title, items in groups.items())]


def on_files(files: Files, config: Any) -> Files:
    """Add what is generated; a page of that path in the folder would be a mistake."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
