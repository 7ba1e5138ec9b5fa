"""Films of sessions: within the memory of the server, one at a time, beside the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from service.errors import PictureError, Refused
from service.policy.effects import Image
from service.session.films import LEAST_BYTES, NICENESS, Films, _give_way
from service.session.spec import SessionSpec
from tests.frame.reels import reel
from tests.session.stand import registry
from tests.session.test_session import GREEN, png


async def test_a_films_memory_is_free_when_nobody_plays_it() -> None:
    films = Films(LEAST_BYTES + 1024)
    film = await films.decode(reel(), max_bytes=1 << 20, longest_px=640)
    assert films.nbytes == film.nbytes == 15 * 320 * 180 * 3 // 2
    with pytest.raises(Refused, match="film_memory"):
        await films.decode(reel(), max_bytes=1 << 20, longest_px=640)
    del film
    await asyncio.sleep(0)  # the callback that brought it here still holds it
    gc.collect()
    assert films.nbytes == 0
    await films.decode(reel(), max_bytes=1 << 20, longest_px=640)


async def test_decoding_leaves_the_loop_free_and_no_thread_behind() -> None:
    films = Films()
    decoding = asyncio.create_task(
        films.decode(reel(size=(1280, 720)), max_bytes=1 << 20, longest_px=640)
    )
    turns = 0
    async with asyncio.timeout(60):
        while not decoding.done():
            turns += 1
            await asyncio.sleep(0)
        await decoding
        for thread in threading.enumerate():
            if thread.name.startswith("film"):
                await asyncio.to_thread(thread.join, 10)
                assert not thread.is_alive()
    assert turns > 10


def test_a_service_that_already_gives_way_to_all_keeps_doing_so() -> None:
    """To have less of it than it was started with takes a privilege."""
    found: list[int] = []

    def work() -> None:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, NICENESS + 2)
        _give_way()
        found.append(os.getpriority(os.PRIO_PROCESS, thread))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [NICENESS + 2]


async def test_a_session_plays_its_film_until_it_gets_something_else() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, max_width=160, max_height=90))
        await session.scene.set_picture(reel())
        await session.scene.set_effect(Image("session"))
        looks = session.scene.looks
        assert looks is not None
        film = looks.all.film
        assert film is not None
        assert looks.all.picture is None
        assert film.frames[0].size == (160, 90)
        before = session.etag
        with pytest.raises(PictureError):
            await session.scene.set_picture(reel()[:300])
        assert looks.all.film is film
        assert session.etag == before
        await session.scene.set_picture(png((0, 0, 200)))
        assert looks.all.film is None
        assert looks.all.picture is not None
        await session.scene.set_picture(reel(form="webm"))
        assert looks.all.film is not None
        assert looks.all.picture is None
