"""The life of an instance: each step is a test, and so is that a broken step is noticed."""

import pytest

import life_steps
import life_views


@pytest.fixture(scope="module")
def walked(own_server):
    views = {}

    def look(life):
        for name, view in (("documents", life_views.read_documents), ("blobs", life_views.read_blobs)):
            try:
                views[name] = list(view(life))
            except Exception as failure:  # kept for the test of that view
                views[name] = failure

    life = life_steps.Life(own_server.endpoints)
    results = {result.number: result for result in life_steps.walk(life, before_deletion=look)}
    return results, views


@pytest.mark.parametrize(("number", "what"), [(number, what) for number, what, _ in life_steps.STEPS])
def test_step(walked, number, what):
    results, _ = walked
    assert number in results, "an earlier step failed"
    assert results[number].error is None, f"{what}: {results[number].error}"


@pytest.mark.parametrize("name", ["documents", "blobs"])
def test_view(walked, name):
    _, views = walked
    seen = views.get(name, "never reached")
    assert isinstance(seen, list) and seen, seen


@pytest.mark.parametrize("number", [number for number, _, _ in life_steps.STEPS])
def test_broken_step_is_noticed(server_for_breaks, number):
    life = life_steps.Life(server_for_breaks.endpoints, break_step=number)
    results = list(life_steps.walk(life))
    assert results[-1].number == number, results[-1].error
    assert results[-1].error is not None


@pytest.fixture(scope="module")
def server_for_breaks():
    # The last one moves the clock, which is why this server is shared with nothing else.
    from conftest import running
    from server import Server

    yield from running(Server())
