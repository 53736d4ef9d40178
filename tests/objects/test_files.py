"""Objects read in windows: the right bytes, few requests, bounded memory and patience."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import ObjectMissing, StoreAway
from rrd.objects.files import ObjectFiles
from tests.objects.file_lab import files_of, loop_in_a_thread, settled
from tests.objects.memory_store import MemoryStore

KIB, MIB = 1 << 10, 1 << 20
PAGE = 64 * KIB


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


_SIZES = (0, 1, PAGE - 1, PAGE, PAGE + 1, 300 * KIB, 3 * MIB + 5)
_OBJECTS = {f"t/{size}": noise(size, size) for size in _SIZES}
_READS = st.lists(
    st.tuples(
        st.sampled_from(sorted(_OBJECTS)),
        st.one_of(st.integers(0, 4 * MIB), st.integers(0, 20).map(lambda page: page * PAGE)),
        st.one_of(st.integers(0, 100), st.integers(0, 4 * MIB)),
    ),
    max_size=12,
)


@given(_READS, st.sampled_from([0, PAGE, 500 * KIB, 8 * MIB, 64 * MIB]), st.booleans())
def test_what_is_read_is_what_the_objects_hold(
    reads: list[tuple[str, int, int]], cache_bytes_max: int, expected: bool
) -> None:
    with files_of(MemoryStore(_OBJECTS), cache_bytes_max=cache_bytes_max) as files:
        for key, offset, size in reads:
            if expected:
                files.expect(key, len(_OBJECTS[key]))
            assert files.read(key, offset, size) == _OBJECTS[key][offset : offset + size]
        settled(files)
        assert 0 <= files.held_bytes <= cache_bytes_max


def test_threads_that_read_at_once_get_their_own_bytes() -> None:
    data = noise(6 * MIB)
    store = MemoryStore({"t/a": data, "t/b": data[::-1]})

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            key = chance.choice(["t/a", "t/b"])
            offset, size = chance.randrange(6 * MIB), chance.choice([10, 100_000, 2 * MIB])
            assert files.read(key, offset, size) == store.objects[key][offset : offset + size]

    with files_of(store, cache_bytes_max=4 * MIB) as files, ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


@pytest.mark.parametrize("step", [10_000, 100_000, 700_000, 20 * MIB])
def test_reading_on_and_on_takes_few_requests_and_nothing_twice(step: int) -> None:
    data = noise(20 * MIB)
    store = MemoryStore({"t/a": data})
    with files_of(store) as files:
        files.expect("t/a", len(data))
        read = b"".join(files.read("t/a", offset, step) for offset in range(0, len(data), step))
    assert read == data
    assert store.bytes_read == len(data)
    # Two of each size from 256 kB on would be 5 for the first 4 MB; then 2.7 MB each.
    assert store.calls["read"] <= 14
    assert not store.calls["size"]


def test_the_next_windows_are_on_their_way_while_one_is_read() -> None:
    data = noise(20 * MIB)
    store = MemoryStore({"t/a": data})
    with files_of(store) as files:
        for offset in range(0, 8 * MIB, 256 * KIB):
            files.read("t/a", offset, 256 * KIB)
        settled(files)
        store.hang("read")
        assert files.read("t/a", 8 * MIB, 4 * MIB) == data[8 * MIB : 12 * MIB]
        _until(lambda: store.waiting >= 1)


def test_reading_here_and_there_fetches_little_more_than_asked_for() -> None:
    store = MemoryStore({"t/a": noise(40 * MIB)})
    with files_of(store) as files:
        for offset in range(0, 40 * MIB, 4 * MIB):
            files.read("t/a", offset + 100_000, 1000)
        settled(files)
    assert len(store.reads) == 10
    assert store.bytes_read == 10 * 256 * KIB


def test_a_read_of_many_pages_is_one_request() -> None:
    store = MemoryStore({"t/a": noise(40 * MIB)})
    with files_of(store, cache_bytes_max=0) as files:
        files.read("t/a", 5 * MIB + 3, 3 * MIB)
    assert store.reads == [("t/a", 5 * MIB, 3 * MIB + PAGE)]


def test_the_end_of_an_object_of_known_size_is_one_request() -> None:
    data = noise(3 * MIB + 5)
    store = MemoryStore({"t/a": data})
    with files_of(store) as files:
        files.expect("t/a", len(data))
        assert files.read("t/a", len(data) - PAGE, PAGE) == data[-PAGE:]
    assert store.calls == {"read": 1}


def test_threads_that_want_the_same_wait_for_one_request() -> None:
    store = MemoryStore({"t/a": noise(MIB)})
    store.hang()
    with files_of(store) as files, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(files.read, "t/a", offset, 1000) for offset in range(0, 80_000, 10_000)]
        _until(lambda: store.waiting == 1)
        store.heal()
        for offset, read in zip(range(0, 80_000, 10_000), waiting, strict=True):
            assert read.result(10) == store.objects["t/a"][offset : offset + 1000]
    assert store.calls["read"] == 1


def test_what_was_read_lately_is_not_fetched_again() -> None:
    store = MemoryStore({f"t/{number}": noise(256 * KIB, number) for number in range(9)})
    with files_of(store, cache_bytes_max=4 * 256 * KIB) as files:
        for number in (0, 1, 2, 3, 0, 4, 0, 5, 0, 6, 0):
            files.expect(f"t/{number}", 256 * KIB)
            files.read(f"t/{number}", 0, 10)
    assert [key for key, _, _ in store.reads] == [f"t/{number}" for number in range(7)]


# Patience


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


ASK: dict[str, Callable[[ObjectFiles], Any]] = {
    "read": lambda files: files.read("t/a", 0, 10),
    "size": lambda files: files.size("t/a"),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_a_store_that_does_not_answer_in_time_is_away(ask: Callable[[ObjectFiles], Any]) -> None:
    store = MemoryStore({"t/a": b"x" * 10})
    store.hang()
    with files_of(store, deadline_s=0.05) as files, pytest.raises(StoreAway, match="did not answer"):
        ask(files)


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_nobody_waits_for_a_store_that_was_just_found_away(ask: Callable[[ObjectFiles], Any]) -> None:
    store, clock = MemoryStore({"t/a": b"x" * 10}), Clock()
    store.fail()
    with files_of(store, monotonic=clock) as files:
        with pytest.raises(StoreAway):
            ask(files)
        store.heal()
        asked = store.calls.total()
        for look in ASK.values():
            with pytest.raises(StoreAway, match="took the store away"):
                look(files)
        assert store.calls.total() == asked
        clock.now += 3.1
        assert ask(files)
        assert all(look(files) for look in ASK.values())


def test_one_at_a_time_tries_whether_the_store_is_back() -> None:
    store, clock = MemoryStore({"t/a": b"x" * 10, "t/b": b"y"}), Clock()
    with files_of(store, monotonic=clock) as files, ThreadPoolExecutor(1) as pool:
        store.fail()
        with pytest.raises(StoreAway):
            files.size("t/a")
        store.heal()
        store.hang()
        clock.now += 3.1
        probe = pool.submit(files.read, "t/a", 0, 10)
        _until(lambda: store.waiting == 1)
        for look in (lambda: files.read("t/b", 0, 1), lambda: files.size("t/b")):
            with pytest.raises(StoreAway):
                look()
        assert store.waiting == 1
        store.heal()
        assert probe.result(10) == b"x" * 10
        assert files.read("t/b", 0, 1) == b"y"


def test_what_is_in_memory_is_read_while_the_store_is_away() -> None:
    store = MemoryStore({"t/a": noise(MIB)})
    with files_of(store) as files:
        files.read("t/a", 0, 10)
        store.fail()
        with pytest.raises(StoreAway):
            files.read("t/a", 900_000, 10)
        assert files.read("t/a", 100_000, 10) == store.objects["t/a"][100_000:100_010]


def test_what_is_not_at_hand_is_fetched_and_is_at_hand_then() -> None:
    store = MemoryStore({"t/a": noise(MIB)})
    with files_of(store) as files:
        assert files.read_now("t/a", 1000, 200_000) is None
        settled(files)
        assert files.read_now("t/a", 1000, 200_000) == store.objects["t/a"][1000:201_000]
        assert files.read("t/a", 1000, 200_000) == store.objects["t/a"][1000:201_000]
        # What is missing or can't be asked for is for ``read`` to tell.
        assert files.read_now("t/b", 0, 1) is None
        store.fail()
        assert files.read_now("t/a", 900_000, 10) is None
        settled(files)
        for _ in range(2):
            assert files.read_now("t/a", 900_000, 10) is None


def test_a_missing_object_is_missing_and_the_store_is_there() -> None:
    store = MemoryStore({"t/b": b"y"})
    with files_of(store) as files:
        for look in ASK.values():
            with pytest.raises(ObjectMissing):
                look(files)
        assert files.read("t/b", 0, 1) == b"y"
        store.objects["t/a"] = b"x"
        assert all(look(files) for look in ASK.values())


def test_an_error_of_a_local_disk_comes_through() -> None:
    store = MemoryStore({"t/a": b"x"})
    store.fail("read", error=PermissionError("not yours"), times=1)
    with files_of(store) as files:
        with pytest.raises(PermissionError):
            files.read("t/a", 0, 1)
        assert files.read("t/a", 0, 1) == b"x"


@pytest.mark.parametrize("expected", [True, False])
def test_an_answer_that_is_too_short_is_not_taken_for_the_end(expected: bool) -> None:
    store = MemoryStore({"t/a": noise(100_000)})
    store.shorten("t/a", 10)
    with files_of(store, monotonic=(clock := Clock())) as files:
        if expected:
            files.expect("t/a", 100_000)
        with pytest.raises(StoreAway, match=r"where .* were asked for"):
            files.read("t/a", 99_900, 100)
        store.heal()
        clock.now += 3.1
        assert files.read("t/a", 99_900, 100) == store.objects["t/a"][-100:]


def test_an_object_that_is_shorter_than_expected_ends_where_it_does() -> None:
    store = MemoryStore({"t/a": noise(100_000)})
    with files_of(store) as files:
        files.expect("t/a", 150_000)
        assert files.read("t/a", 99_900, 20_000) == store.objects["t/a"][-100:]
        assert files.read("t/a", 120_000, 20_000) == b""


def test_a_window_fetched_ahead_in_vain_does_no_harm() -> None:
    data = noise(4 * MIB)
    store, clock = MemoryStore({"t/a": data}), Clock()
    with files_of(store, monotonic=clock) as files:
        files.read("t/a", 0, 10)
        settled(files)
        store.fail()
        with pytest.raises(StoreAway):
            files.read("t/a", 256 * KIB, 10)
        settled(files)
        store.heal()
        clock.now += 3.1
        assert files.read("t/a", 0, len(data)) == data


# Forgetting, and the end


def test_what_was_forgotten_is_fetched_again() -> None:
    store = MemoryStore({"t/a": b"old", "t/b": b"kept", "u/a": b"kept"})
    with files_of(store) as files:
        for key, data in store.objects.items():
            assert files.read(key, 0, 10) == data
        assert files.size("t/a") == 3
        store.objects = {"t/a": b"newer", "t/b": b"newer", "u/a": b"newer"}
        files.forget("t/a")
        assert files.read("t/a", 0, 10) == b"newer"
        assert files.read("t/b", 0, 10) == files.read("u/a", 0, 10) == b"kept"
        files.forget("t/")
        assert files.read("t/b", 0, 10) == b"newer"
        assert files.read("u/a", 0, 10) == b"kept"


def test_what_is_on_its_way_when_it_is_forgotten_is_not_kept() -> None:
    store = MemoryStore({"t/a": b"old"})
    with files_of(store) as files, ThreadPoolExecutor(1) as pool:
        store.hang("size")
        first = pool.submit(files.read, "t/a", 0, 10)
        # The object's end is looked up, since its size isn't known.
        _until(lambda: store.waiting == 1)
        store.objects["t/a"] = b"new"
        files.forget("t/a")
        assert files.held_bytes == 0
        store.heal()
        assert first.result(10) == b"old"
        assert files.read("t/a", 0, 10) == b"new"


def test_closing_fails_those_who_wait_and_those_who_come() -> None:
    store = MemoryStore({"t/a": noise(100_000), "t/b": b"x"})
    store.hang()
    with files_of(store, deadline_s=60) as files, ThreadPoolExecutor(2) as pool:
        waiting: list[Future[Any]] = [pool.submit(ask, files) for ask in ASK.values()]
        _until(lambda: store.waiting == 2)
        files._loop.call_soon_threadsafe(files.close)
        for future in waiting:
            with pytest.raises(StoreAway, match="stopping"):
                future.result(10)
        for ask in ASK.values():
            with pytest.raises(StoreAway, match="stopping"):
                ask(files)


def test_a_closed_loop_is_a_store_that_is_away() -> None:
    with loop_in_a_thread() as loop:
        files = ObjectFiles(MemoryStore(), loop, cache_bytes_max=0, deadline_s=60)
    for ask in ASK.values():
        with pytest.raises(StoreAway, match="stopping"):
            ask(files)


def test_a_loop_that_stands_still_does_not_hold_up_a_thread_for_ever() -> None:
    loop = asyncio.new_event_loop()
    files = ObjectFiles(MemoryStore(), loop, cache_bytes_max=0, deadline_s=0.02, patience_s=0.02)
    for ask in ASK.values():
        with pytest.raises(StoreAway):
            ask(files)
    assert files.held_bytes == 0
    loop.close()


async def test_waiting_on_the_loop_itself_is_refused() -> None:
    files = ObjectFiles(
        MemoryStore({"t/a": b"x"}), asyncio.get_running_loop(), cache_bytes_max=0, deadline_s=60
    )
    for ask in ASK.values():
        with pytest.raises(AssertionError, match="on the loop"):
            ask(files)
    assert await asyncio.to_thread(files.read, "t/a", 0, 10) == b"x"
    files.close()


def test_any_thread_may_read_while_others_forget_and_the_store_comes_and_goes() -> None:
    data = noise(2 * MIB)
    store, clock = MemoryStore({"t/a": data}), Clock()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            store.fail("read", times=1)
            files.forget("t/")
            clock.now += 10

    with files_of(store, cache_bytes_max=MIB, monotonic=clock) as files, ThreadPoolExecutor(4) as pool:
        disturbing = pool.submit(disturb)

        def read(seed: int) -> int:
            chance, good = random.Random(seed), 0
            for _ in range(100):
                offset, size = chance.randrange(2 * MIB), chance.randrange(MIB)
                try:
                    assert files.read("t/a", offset, size) == data[offset : offset + size]
                    good += 1
                except StoreAway:
                    pass
            return good

        list(pool.map(read, range(3)))
        stop.set()
        disturbing.result(10)
        store.heal()
        clock.now += 10
        assert files.read("t/a", 0, len(data)) == data
        settled(files)
        assert 0 <= files.held_bytes <= MIB


def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
