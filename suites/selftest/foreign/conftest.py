"""Two networks of strangers, converted once in each way that a test asks for."""

from __future__ import annotations

import pytest

from suites.selftest.foreign import strangers
from suites.selftest.foreign.strangers import Stranger


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return strangers.images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return strangers.words(tmp_path_factory.mktemp("words"))
