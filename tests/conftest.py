"""Marks every test with its folder's name: `pytest -m "not browser"` needs no mark in any file."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = next((path.name for path in item.path.parents if path.parent == HERE), None)
        if folder:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does, and not on trio as well."""
    return "asyncio"
