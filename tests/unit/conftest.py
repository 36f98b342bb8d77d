"""The trees of machines that are not here, each written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from unit.trees import BUILDERS, MachineOf, Tree

from kperf.machine import Machine

settings.register_profile("kperf", deadline=None)  # nothing here asserts a time
settings.load_profile("kperf")


@pytest.fixture(scope="session")
def machine_of(tmp_path_factory: pytest.TempPathFactory) -> MachineOf:
    """A new reader of one of the trees, by its name in `BUILDERS`."""
    trees: dict[str, Tree] = {}

    def read(name: str) -> Machine:
        if name not in trees:
            trees[name] = BUILDERS[name](tmp_path_factory.mktemp(name))
        return trees[name].machine()

    return read


@pytest.fixture(params=sorted(BUILDERS))
def any_machine(request: pytest.FixtureRequest, machine_of: MachineOf) -> Machine:
    """Each of the trees in turn."""
    return machine_of(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree to write one's own PMUs into."""
    return Tree(tmp_path)
