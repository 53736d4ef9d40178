"""A parameter that is meant as a filter and isn't written as one is refused, never passed over."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from multidict import MultiDict

from rrd.errors import BadRequest
from rrd.http.filters import filters_of, refuse_filters
from tests.http.api import Api
from tests.samples import ndjson, new_id, some_events

KNOWN = frozenset({"token", "limit", "offset", "includeSignedUrls"})

MISSPELT = """
metadata[userId] Meta[userId] META[userId] metas[userId] xmeta[userId] +meta[userId] meta[userId]+
meta+[userId] meta.userId meta_userId meta:userId meta(userId) meta{userId} metaUserId meta-userId meta/userId
meta meta[ meta[] meta[userId meta]userId[ metauserId] meta[user][id] meta[userId][] meta[][userId]
meta[userId][eq] meta%5BuserId%5D mata%5buserId%5d metal[userId] met[userId] m[userId] [userId] userId[]
filter[userId] filter[meta][userId] metadata.userId metadata includeMetadata Limit OFFSET
+limit includesignedurls
mata.userId m.userId mta(userId) mat:userId data{userId} where=userId filter filters Filter
""".replace("\n", " ").split()
MISSPELT = [name.replace("+", " ") for name in MISSPELT]
FOREIGN = ["_", "utm_source", "fbclid", "cacheBuster", "unknown", "v", "T", ""]

_PARTS = ["meta", "Meta", "METADATA", "[", "]", "[]", ".", " ", "userId", "é", "\n", "%5B"]
names = st.text(max_size=12) | st.lists(st.sampled_from(_PARTS)).map("".join)


@given(names, st.text(max_size=5))
def test_what_contains_meta_or_a_bracket_is_a_filter_or_is_refused(name: str, value: str) -> None:
    """So a filter is never passed over: each such parameter narrows the list, or ends the request."""
    assume("meta" in name.lower() or "[" in name or "]" in name)
    is_filter = name.startswith("meta[") and name.endswith("]") and len(name) > 6 and "][" not in name
    for others_pass in (True, False):
        query = MultiDict([("limit", "1"), (name, value), ("meta[k]", "v")])
        if is_filter:
            found = filters_of(query, known=KNOWN, others_pass=others_pass)
            assert found == [(name[5:-1], value), ("k", "v")]
        else:
            with pytest.raises(BadRequest) as caught:
                filters_of(query, known=KNOWN, others_pass=others_pass)
            assert caught.value.parameter == name
    with pytest.raises(BadRequest):
        refuse_filters(MultiDict([(name, value)]), known=KNOWN)


@pytest.mark.parametrize("name", MISSPELT)
async def test_a_misspelt_filter_is_named_and_shows_or_erases_nothing(api: Api, name: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(1)))
    await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"userId":"u1"}')
    query = f"?{quote(name, safe='')}=u1"
    for before in ("", "&meta[userId]=u1"):
        reply = await api.get(f"/recordings{query}{before}")
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "bad_request", name)
    erase = api.daemon.key("erase")
    reply = await api.request("DELETE", f"/recordings{query}", key=erase)
    assert (reply.status, reply.error["parameter"]) == (400, name)
    if name.strip().lower() not in {known.lower() for known in KNOWN}:
        for method, path, key in (
            ("GET", "/statistics", api.daemon.key("read")),
            ("DELETE", f"/recordings/{recording_id}", erase),
        ):
            reply = await api.request(method, f"{path}{query}", key=key)
            assert (reply.status, reply.error["parameter"]) == (400, name)
    listed = (await api.get("/recordings?meta[userId]=u1")).json()["recordings"]
    assert [row["recordingId"] for row in listed] == [recording_id]


async def test_what_is_no_filter_at_all_is_passed_over_by_reads(api: Api) -> None:
    """Tools add parameters of their own; the rest of the query still counts."""
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(1)))
    for name in FOREIGN:
        query = f"{quote(name, safe='')}=1"
        for path in (
            "/recordings",
            "/statistics",
            f"/recordings/{recording_id}",
            f"/recordings/{recording_id}/events",
        ):
            reply = await api.get(f"{path}?{query}")
            assert (name, path, reply.status) == (name, path, 200)
        assert (await api.get(f"/recordings?{query}&meta[userId]=another")).json()["recordings"] == []
