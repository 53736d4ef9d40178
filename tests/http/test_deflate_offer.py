"""What is agreed on of permessage-deflate (RFC 7692, 7.1): nothing that a header says ends in an error."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.http.deflate_offer import Agreed, agree
from tests.http.api import Api
from tests.http.raw_client import TEXT
from tests.samples import new_id, some_events
from tests.thoroughness import examples

KIB = 1 << 10
DIGITS = "1" * 5000
"""Python makes no number of so many."""

AGREED = {
    # Browsers: Chromium and what is made of it; Firefox; older Safari's is another extension.
    "permessage-deflate; client_max_window_bits": ("permessage-deflate; client_max_window_bits=13", 8 * KIB),
    "permessage-deflate": ("permessage-deflate", 32 * KIB),
    "x-webkit-deflate-frame, permessage-deflate": ("permessage-deflate", 32 * KIB),
    # Libraries: Python's websockets, ws for Node, aiohttp.
    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12": (
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        4 * KIB,
    ),
    "permessage-deflate; client_max_window_bits=15": (
        "permessage-deflate; client_max_window_bits=13",
        8 * KIB,
    ),
    "permessage-deflate; client_max_window_bits=8": ("permessage-deflate; client_max_window_bits=8", 256),
    # Without windows that go on.
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover": (
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        0,
    ),
    "permessage-deflate; server_no_context_takeover": (
        "permessage-deflate; server_no_context_takeover",
        32 * KIB,
    ),
    "permessage-deflate; client_no_context_takeover; client_max_window_bits": (
        "permessage-deflate; client_no_context_takeover; client_max_window_bits=13",
        0,
    ),
    # However it is written (RFC 6455, 9.1).
    ' Permessage-Deflate ;\tCLIENT_MAX_WINDOW_BITS = "10" ,': (
        "permessage-deflate; client_max_window_bits=10",
        KIB,
    ),
    # The first that can be kept.
    "permessage-deflate; server_max_window_bits=16, permessage-deflate; client_max_window_bits=9": (
        "permessage-deflate; client_max_window_bits=9",
        512,
    ),
    "permessage-deflate; client_max_window_bits, permessage-deflate": (
        "permessage-deflate; client_max_window_bits=13",
        8 * KIB,
    ),
    f"permessage-deflate; server_max_window_bits={DIGITS[:500]}, permessage-deflate": (
        "permessage-deflate",
        32 * KIB,
    ),
}

DECLINED = [
    "",
    ",",
    "x-webkit-deflate-frame",
    "permessage-deflates",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=013",
    "permessage-deflate; client_max_window_bits=-9",
    "permessage-deflate; client_max_window_bits=1e1",
    "permessage-deflate; client_max_window_bits=",
    "permessage-deflate; client_max_window_bits=\u0661\u0660",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=8; server_max_window_bits=8",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; some_parameter",
    "permessage-deflate;",
    "permessage-deflate; ;",
    'permessage-deflate; client_max_window_bits="10',
    'permessage-deflate; client_max_window_bits="1,0"',
    "permessage-deflate, =",
    "permessage-deflate client_max_window_bits",
    f"permessage-deflate; server_max_window_bits={DIGITS[:3000]}",
    f"permessage-deflate; client_max_window_bits={DIGITS}",
    "permessage-deflate, " + "x" * 5000,
    "permessage-deflate" + " " * 5000 + ";",
]


@pytest.mark.parametrize("offer", AGREED)
def test_the_first_offer_that_can_be_kept_is_agreed_on(offer: str) -> None:
    answer, window_bytes = AGREED[offer]
    assert agree([offer]) == Agreed(answer, window_bytes)
    assert agree(["permessage-unknown; x=1", offer]) == Agreed(answer, window_bytes)


@pytest.mark.parametrize("offer", DECLINED)
def test_an_offer_that_cannot_be_kept_or_read_is_declined(offer: str) -> None:
    assert agree([offer]) is None


def test_without_a_header_nothing_is_agreed_on() -> None:
    assert agree([]) is None


_pieces = st.sampled_from(
    ["permessage-deflate", ";", ",", "=", " ", '"', "client_max_window_bits", "server_max_window_bits", "10"]
)


@given(headers=st.lists(st.one_of(st.text(max_size=30), st.lists(_pieces, max_size=12).map("".join))))
@settings(max_examples=examples(400), deadline=None)
def test_whatever_is_offered_the_answer_can_be_agreed_on_itself(headers: list[str]) -> None:
    agreed = agree(headers)
    if agreed is not None:
        assert agree([agreed.answer]) == agreed


# Over a socket


@pytest.mark.parametrize("offer", [*AGREED, *DECLINED[1:]])
async def test_a_socket_opens_whatever_it_offers(api: Api, offer: str) -> None:
    recording_id, (line,) = new_id(), some_events(1)
    socket = await api.socket(
        recording_id, headers={"Sec-WebSocket-Extensions": offer.encode().decode("latin-1")}
    )
    answer = socket.headers.get("sec-websocket-extensions")
    assert answer == (AGREED[offer][0] if offer in AGREED else None)
    if answer is None:
        socket.frame(TEXT, line)
    else:
        packer = zlib.compressobj(wbits=-9)
        payload = packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH)
        socket.frame(TEXT, payload[:-4], compressed=True)
    # The client knows of no compression, and would fail at a reply with RSV1 (RFC 7692, 6).
    socket._inflate = None
    farewell = await socket.finish()
    assert (farewell.code, farewell.last["successful_rows"]) == (1000, 1)
    assert await api.events(recording_id) == [line]
