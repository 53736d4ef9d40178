"""What a query for events may say, and what is refused, by the parameter's name."""

from __future__ import annotations

import itertools

import pytest

from rrd.http.ranges import PAGE_BYTES_MAX, PAGE_BYTES_MIN, PAGE_EVENTS_MAX
from tests.http.api import JSON, NDJSON, Api
from tests.samples import ndjson, new_id, some_events

GOOD = [
    "limit=1", f"limit={PAGE_EVENTS_MAX}", f"maxBytes={PAGE_BYTES_MIN}", f"maxBytes={PAGE_BYTES_MAX}",
    "limit=1&maxBytes=65536&from=1&to=2", "at=0", "at=-5.25&to=7", "at=9&limit=1", "after=0",
    "after=3&limit=1",    f"after={2**63 - 1}", "after=0&maxBytes=65536", "limit=1&salvage=true", "limit=007",
    # As before: without any of the above, what is not known is passed over.
    "", "utm_source=x", "from=1&_=2", "unknown",
    "form=ndjson", "form=json&from=1&to=2", "form=json&limit=1", "form=ndjson&after=0",
]  # fmt: skip
BAD = [
    *(("limit", f"limit={value}") for value in ("0", "10001", "-1", "1.0", "", "x", "%D9%A3", "9" * 30)),
    *(("maxBytes", f"maxBytes={value}") for value in ("65535", "16777217", "64k", "", "-65536", "1" * 20)),
    *(("at", f"at={value}") for value in ("", "now", "1e3", "nan", "inf", "1" * 17, "0x1", "1,5")),
    *(("after", f"after={value}") for value in ("-1", "1.5", "", "x", str(2**63), "9" * 40)),
    *(("cursor", f"cursor={value}") for value in ("", "x", "A" * 76, "%00", "A" * 5000)),
    ("from", "at=5&from=1"), ("at", "at=5&to=4"), ("from", "from=2&to=1&limit=1"),
    ("from", "after=1&from=1"), ("to", "after=1&to=1"), ("at", "after=1&at=1"),
    ("cursor", "after=1&cursor=x"),
    ("utm_source", "limit=1&utm_source=x"), ("maxbytes", "limit=1&maxbytes=65536"), ("_", "at=1&_=1"),
    ("Limit", "after=1&Limit=1"), ("meta[a]", "limit=1&meta[a]=b"), ("offset", "limit=1&offset=1"),
    ("limit", "limit=1&limit=2"), ("at", "at=1&at=1"), ("after", "after=1&after=1"),
    *(("form", f"form={value}") for value in ("", "xml", "NDJSON", "stored,json")),
    *((name, f"form=stored&{name}={value}") for name, value in (
        ("from", "1"), ("to", "1"), ("limit", "1"), ("maxBytes", "65536"), ("at", "1"), ("after", "1"),
        ("cursor", "x"),
    )),
]  # fmt: skip


@pytest.mark.parametrize("query", GOOD)
async def test_what_may_be_asked(api: Api, query: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    reply = await api.get(f"/recordings/{recording_id}/events?{query}", headers={"Accept": NDJSON})
    assert reply.status == 200, reply.body


async def test_what_is_refused_is_named(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    for parameter, query in BAD:
        reply = await api.get(
            f"/recordings/{recording_id}/events?{query}", headers={"Accept-Encoding": "zstd"}
        )
        assert (reply.status, reply.error.get("parameter")) == (400, parameter), query


@pytest.mark.parametrize("accept", [JSON, NDJSON, "text/html,*/*;q=0.8"])
@pytest.mark.parametrize(("form", "kind"), [("json", JSON), ("ndjson", NDJSON)])
async def test_a_form_in_the_url_is_a_file_whatever_is_accepted(
    api: Api, form: str, kind: str, accept: str
) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    url, headers = f"/recordings/{recording_id}/events", {"Accept": accept}
    reply = await api.get(f"{url}?form={form}", headers=headers)
    assert reply.headers["Content-Type"] == kind
    name = f"recording-{recording_id}.{form}"
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert reply.body == (await api.get(url, headers={"Accept": kind})).body
    assert "Content-Disposition" not in (await api.get(url, headers=headers)).headers


async def test_a_walk_is_of_its_recording_and_its_range(api: Api) -> None:
    one, other = new_id(), new_id()
    for recording_id in (one, other):
        await api.post(recording_id, ndjson(some_events(9, start=1)))
    reply = await api.get(f"/recordings/{one}/events?from=2&to=8&limit=1")
    query = reply.headers["Link"].partition("?")[2].partition(">")[0]
    cursor = query.partition("cursor=")[2]
    assert (await api.get(f"/recordings/{other}/events?{query}")).error["parameter"] == "cursor"
    for name, said in (("from", "from=3"), ("to", "to=9"), ("at", "at=3")):
        refused = await api.get(f"/recordings/{one}/events?{said}&cursor={cursor}")
        assert (refused.status, refused.error["parameter"]) == (400, name)
    for more in itertools.product(("", "from=2&"), ("", "to=8&"), ("", "limit=3&"), ("", "maxBytes=65536&")):
        assert (await api.get(f"/recordings/{one}/events?{''.join(more)}cursor={cursor}")).status == 200


async def test_a_recording_that_nobody_wrote_to_has_no_pages(api: Api) -> None:
    for query in ("limit=1", "at=1", "after=0", "cursor=x"):
        assert (await api.get(f"/recordings/{new_id()}/events?{query}")).status == 404
