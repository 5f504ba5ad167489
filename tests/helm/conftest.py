import pytest

from tests.support import charts


@pytest.fixture(autouse=True)
def _helm_is_there() -> None:
    if any(charts.helm(major) is None for major in charts.MAJORS):
        pytest.skip("Helm 3 and 4 are not here: scripts/kube_tools.sh fetches both")
