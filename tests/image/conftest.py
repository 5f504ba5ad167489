"""The image that serves, built once."""

from collections.abc import Iterator

import pytest

from tests.support import containers


@pytest.fixture(scope="session")
def image() -> Iterator[containers.Image]:
    if reason := containers.missing():
        pytest.skip(reason)
    with containers.built("serve-cpu", name="localhost/parallax-test") as made:
        yield made
