"""The client that reads and drops: it finds the end of every body, and takes nothing broken for whole."""

from __future__ import annotations

import socket
import threading

import pytest

from bench.fetch import Answer, Reader, fetch, read, request

BODY = bytes(range(256)) * 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Odd:  two \r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Slices:
    """Stands for a connection: it gives an answer in pieces of a size, whatever room there is."""

    def __init__(self, answer: bytes, size: int) -> None:
        self._answer = answer
        self._size = size
        self.asked = b""

    def sendall(self, data: bytes) -> None:
        self.asked += data

    def recv_into(self, buffer: memoryview) -> int:
        piece, self._answer = self._answer[: self._size], self._answer[self._size :]
        buffer[: len(piece)] = piece
        return len(piece)


def get(answer: bytes, size: int = 1 << 20) -> tuple[Answer, bytes]:
    kept = bytearray()
    found = Reader(Slices(answer, size)).get(b"", keep=kept.extend)  # type: ignore[arg-type]  # What it uses of one.
    return found, bytes(kept)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize(
    "answer",
    [
        SIZED + BODY,
        CHUNKED + in_chunks(BODY, 4096),
        CHUNKED + in_chunks(BODY, 7),
        CHUNKED + in_chunks(BODY, 1 << 20),
    ],
    ids=["sized", "chunked", "small chunks", "one chunk"],
)
def test_a_body_is_found_however_it_arrives(answer: bytes, size: int) -> None:
    found, body = get(answer, size)
    assert body == BODY
    assert (found.status, found.body_bytes) == (200, len(BODY))
    assert found.first_byte_s > 0


@pytest.mark.parametrize(
    "answer", [CHUNKED + b"0\r\n\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
)
def test_a_body_may_be_empty(answer: bytes) -> None:
    found, body = get(answer)
    assert (body, found.body_bytes, found.first_byte_s) == (b"", 0, 0.0)


def test_headers_are_told() -> None:
    found, _ = get(CHUNKED + in_chunks(BODY, 100))
    assert found.headers == {"transfer-encoding": "chunked", "x-odd": "two"}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (SIZED + BODY[:-1], "ended before"),
        (SIZED[:-3], "ended before"),
        (SIZED + BODY + b"x", "1 bytes more"),
        (CHUNKED + in_chunks(BODY, 100)[:-1], "ended before"),
        (CHUNKED + in_chunks(BODY, 100)[:-5], "ended before"),
        (CHUNKED + in_chunks(BODY, 100) + b"x", "behind the last chunk"),
        (CHUNKED + b"no size of a chunk at all\r\n", "not the size of a chunk"),
        (CHUNKED + b"0\r\nTrailer: what nobody asked for\r\n\r\n", "not the size of a chunk"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "doesn't say where it ends"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, "no end of the answer's head"),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 20])
def test_what_is_no_whole_answer_is_an_error(answer: bytes, complaint: str, size: int) -> None:
    with pytest.raises(RuntimeError, match=complaint):
        get(answer, size)


def serve(answers: list[bytes]) -> int:
    """Serve one connection, whose requests get the answers in turn; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listener:
            connection, _ = listener.accept()
        with connection:
            for answer in answers:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    asked += connection.recv(4096)
                assert asked.startswith(b"GET /x HTTP/1.1\r\nHost: ")
                connection.sendall(answer)

    threading.Thread(target=run, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_requests_follow_each_other_over_one_connection() -> None:
    port = serve([SIZED + BODY, CHUNKED + in_chunks(BODY, 1000), SIZED + BODY])
    reading = read(port, request("/x", {"Accept": "*/*"}), body_bytes=len(BODY), times=3)
    assert len(reading.first_byte_s) == 3
    assert 0 < min(reading.first_byte_s) < reading.wall_s


@pytest.mark.parametrize(
    "answer", [CHUNKED + in_chunks(BODY[1:], 1000), SIZED.replace(b"200", b"206") + BODY]
)
def test_another_answer_than_the_first_is_not_counted(answer: bytes) -> None:
    with pytest.raises(RuntimeError, match="not 200 with 5,120 bytes"):
        read(serve([SIZED + BODY, answer]), request("/x", {}), body_bytes=len(BODY), times=2)


def test_a_body_can_be_kept() -> None:
    answer, body = fetch(serve([CHUNKED + in_chunks(BODY, 999)]), request("/x", {}))
    assert (answer.status, body) == (200, BODY)
