"""Marks every test with its folder's name: `pytest -m "not browser"` needs no mark in any file."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent

LAST = ("terraform", "helm", "image", "cluster")
"""Folders whose tests come after all others, in this order: slow ones, which say little while something else is broken. Ray comes
last: a process that has driven a cluster no longer shows pytest what our loggers say.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = {item: next((path.name for path in item.path.parents if path.parent == HERE), None) for item in items}
    for item, folder in folders.items():
        if folder:
            item.add_marker(folder)
    items.sort(key=lambda item: LAST.index(folder) + 1 if (folder := folders[item]) in LAST else 0)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does, and not on trio as well."""
    return "asyncio"
