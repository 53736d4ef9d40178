"""The document is valid OpenAPI, and says of routes, parameters, codes and bounds what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import rrd
from rrd import errors
from rrd.config import Config
from rrd.http import export, filters, follow, pages, ranges, reads, replays, wanted
from rrd.http.openapi.codes import CODES
from rrd.http.openapi.document import document
from rrd.index.sqlite.listing import FILTERS_MAX
from tests.harness import running
from tests.openapi.contract import Described, Told

ROOT = Path(__file__).parents[2]
KEYS = filters.KEY_PARAMETERS
NAMES = {"recording": "recordingId", "property": "groupingProp", "value": "replayValue"}
"""Segments of the router, and what the document calls them."""

# Codes of errors that no path of the document answers with, and why.
ELSEWHERE = {
    "unsupported_method": "a method that HTTP doesn't know is no operation",
    "method_not_allowed": "as above: the description tells of it",
    "no_such_path": "as above",
    "http_error": "whatever aiohttp may answer that has no code: none is known",
    "taker_too_slow": "the connection is closed without an answer",
    "access_denied": "a base",
    "object_error": "a base",
    "refused": "a base",
    "segment_error": "a base",
    "bad_config": "of the command line",
    "busy": "of the control socket",
    "corrupt_segment": "told as recording_damaged",
    "stale_history": "never leaves its module",
    "index_damaged": "ends the daemon",
    "object_missing": "told as recording_damaged",
    "object_unreadable": "the same",
    "object_rejected": "of the roll-up",
}


@pytest.fixture(scope="module")
def told() -> Told:
    return Told(document(Config()))


def test_it_is_valid_for_any_settings() -> None:
    other = {"recording_ids": "any", "metadata_shape": "object", "reads_of_damage": "salvage"}
    for settings in ({}, {**other, "public_url": "https://rrd.example/base/"}):
        OpenAPIV31SpecValidator(document(msgspec.convert(settings, Config))).validate()
    assert document(Config())["info"]["version"] == rrd.__version__
    assert document(Config())["servers"] == [{"url": "/"}]
    assert document(Config(public_url="https://rrd.example/base/"))["servers"] == [
        {"url": "https://rrd.example/base"}
    ]


async def test_it_has_each_route_and_method_and_no_others(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path, console=True) as daemon:
        from rrd.http.app import make_app

        router = make_app(daemon.services).router
    routes: set[tuple[str, str]] = set()
    heads: set[str] = set()
    for route in router.routes():
        assert route.resource is not None
        path = re.sub(
            r"\{(\w+)\}", lambda found: f"{{{NAMES.get(found[1], found[1])}}}", route.resource.canonical
        )
        if not route.resource.canonical.startswith("/console"):
            (heads.add(path) if route.method == "HEAD" else routes.add((route.method, path)))
    assert routes == {(each.method, each.path) for each in told.operations}
    # As its description says of HEAD.
    assert heads == {each.path for each in told.operations if each.method == "GET" and not each.is_socket}


def test_each_operation_has_a_name_of_its_own_and_words_for_people(told: Told) -> None:
    assert len(told.by_name) == len(told.operations)
    tags = {tag["name"] for tag in told.document["tags"]}
    for each in told.operations:
        assert set(each.told["tags"]) <= tags
        assert each.told["description"]
        assert each.told.get("x-alias-of", each.name) in told.by_name


# What handlers know, by the operation.
KNOWN = {
    "listRecordings": reads._LIST_PARAMETERS,
    "getEvents": ranges._KNOWN,
    "getExport": export._PARAMETERS,
    "getPages": pages._PARAMETERS - {"recordingId"},  # The path has it.
    "getReplay": replays._PARAMETERS,
    "getReplayOf": replays._PARAMETERS,
    "getStatistics": KEYS,
}


@pytest.mark.parametrize("name", KNOWN)
def test_its_parameters_are_those_that_the_handler_knows(told: Told, name: str) -> None:
    assert set(told.by_name[name].parameters("query")) - {"meta"} == KNOWN[name] - KEYS


def test_bounds_are_those_of_the_code() -> None:
    small = Told(document(Config(metadata_keys_max=7, body_bytes_max=2048, replay_recordings_max=9)))
    assert "2,048 bytes" in small.by_name["postIngest"].told["description"]
    assert "7 keys" in small.by_name["postMetadata"].told["description"]
    assert "9 recordings" in small.by_name["getReplay"].told["description"]
    query = small.by_name["getEvents"].parameters("query")
    assert query["limit"]["schema"]["maximum"] == ranges.PAGE_EVENTS_MAX
    assert query["maxBytes"]["schema"]["minimum"] == ranges.PAGE_BYTES_MIN
    assert set(small.by_name["listRecordings"].parameters("query")["sort"]["schema"]["enum"]) == set(
        wanted.SORTS
    )
    meta = small.by_name["getReplay"].parameters("query")["meta"]
    assert f"{FILTERS_MAX} filters at most" in meta["description"]
    assert follow._NUMBER.fullmatch(str(10**15 - 1))


def codes_in(path: Path) -> set[str]:
    """Return the codes that a module gives to errors and answers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            given = [word.value for word in node.keywords if word.arg == "code"]
            given += node.args[1:2] if name == "problem" else []
            found |= {
                each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
        elif isinstance(node, ast.ClassDef):
            found |= {
                str(each.value.value)
                for each in node.body
                if isinstance(each, ast.Assign | ast.AnnAssign)
                and ast.unparse(each.targets[0] if isinstance(each, ast.Assign) else each.target) == "code"
                and isinstance(each.value, ast.Constant)
            }
    return found


def test_each_code_of_an_error_is_in_it_or_elsewhere_for_a_reason(told: Told) -> None:
    files = [Path(errors.__file__)]
    for part in ("http", "shares", "recordings", "playback", "assets", "index", "lifecycle"):
        files += [
            path
            for path in (ROOT / "rrd" / part).rglob("*.py")
            if not path.stem.startswith("console") and path.parent.name != "openapi"
        ]
    found = set().union(*map(codes_in, files))
    assert {"bad_recording_id", "too_many_reads", "no_console", "unsupported_type"} <= found
    used = {
        code
        for answer in told.document["components"]["responses"].values()
        for code in answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"][
            "properties"
        ]["code"]["enum"]
    }
    assert used == set(CODES)
    assert sorted(found - used - ELSEWHERE.keys()) == []


def examples(told: Told, each: Described) -> list[tuple[dict[str, object], object]]:
    """Return each example of an operation, with its schema."""
    contents = list(each.told.get("requestBody", {}).get("content", {}).values())
    for status in each.statuses:
        contents += told.answer(each, status).get("content", {}).values()
    found = [(form["schema"], form["example"]) for form in contents if "example" in form]
    parameters = [*each.parameters("query").values(), *each.parameters("path").values()]
    return found + [(form["schema"], form["example"]) for form in parameters if "example" in form]


def test_each_example_is_of_its_shape(told: Told) -> None:
    count = 0
    for each in told.operations:
        for schema, example in examples(told, each):
            told.validate(schema, example)
            count += 1
    assert count > 100
