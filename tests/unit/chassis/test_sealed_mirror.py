"""Values of the mirror are believed when this installation wrote them, there, and lately."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.mirror import Reading
from chassis.sealed_mirror import MAX_AGE_S, SealedMirrorStore, mark_of
from tests.unit.chassis.mirror_model import Model

SECRET = b"shared by the whole installation"


class InMemory:
    """A MirrorStore over the model, by name."""

    def __init__(self):
        self.models = {}

    def at(self, name):
        return self.models.setdefault(name, Model())

    async def read(self, name, token):
        return self.at(name).read(name, token)

    async def fill(self, name, token, value):
        return self.at(name).fill(name, token, value)

    async def begin(self, name, mark):
        self.at(name).begin(name, mark)

    async def end(self, name, mark):
        self.at(name).end(name, mark)


class World:
    def __init__(self):
        self.inner = InMemory()
        self.wall = 1_800_000_000.0
        self.rejected = 0
        self.store = self.under(SECRET)

    def under(self, secret):
        return SealedMirrorStore(self.inner, secret, on_rejected=self._reject, wall=lambda: self.wall)

    def _reject(self):
        self.rejected += 1

    async def filled(self, name="docs", value=b"snapshot", store=None):
        await self.inner.read(name, "token")
        assert await (store or self.store).fill(name, "token", value)
        return self.inner.at(name).value[0]

    def plant(self, value, name="docs"):
        model = self.inner.at(name)
        model.value = (value, model.now + 1_000.0)

    async def is_rejected(self, name="docs"):
        """Nothing is read, it is counted, and the next reader may have the place filled again."""
        before = self.rejected
        assert await self.store.read(name, "reader") == Reading(None)
        assert (await self.inner.read(name, "next")).is_filler
        return self.rejected == before + 1


@pytest.fixture
def world():
    return World()


async def test_what_was_filled_is_read(world):
    await world.filled()
    assert await world.store.read("docs", "reader") == Reading(b"snapshot")
    assert world.rejected == 0


async def test_an_empty_place_gives_the_token(world):
    assert await world.store.read("docs", "reader") == Reading(None, is_filler=True)


async def test_another_secret_is_not_believed(world):
    await world.filled(store=world.under(b"some other installation's"))
    assert await world.is_rejected()


async def test_a_value_of_another_collection_is_not_believed(world):
    world.plant(await world.filled("theirs"))
    assert await world.is_rejected()


@pytest.mark.parametrize("later_s", [MAX_AGE_S + 0.1, -MAX_AGE_S - 0.1])
async def test_a_value_that_somebody_kept_is_not_believed_later(world, later_s):
    world.plant(await world.filled())
    world.wall += later_s
    assert await world.is_rejected()


@given(st.binary(max_size=200))
async def test_random_bytes_are_not_believed(value):
    world = World()
    world.plant(value)
    assert await world.is_rejected()


@given(st.data())
async def test_a_changed_bit_is_not_believed(data):
    world = World()
    sealed = bytearray(await world.filled())
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    world.plant(bytes(sealed))
    assert await world.is_rejected()


def test_the_mark_tells_mirrors_apart_and_not_the_secret():
    assert mark_of(SECRET) == mark_of(SECRET)
    assert mark_of(SECRET) != mark_of(b"another")
    assert SECRET.hex() not in mark_of(SECRET)
