"""A segment is a valid ``.zst`` file: tools that know nothing of rrd print its events and nothing else."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest
import zstandard
from hypothesis import given, settings

from rrd.segment.format import encode_identity
from tests.segment.samples import IDENTITY, NOTES, Sample, an_object, any_samples, events, sample
from tests.thoroughness import examples

ZSTD = shutil.which("zstd")

BIG = events(*range(20_000))
SAMPLES = {
    "no blocks": sample(),
    "notes alone": sample(NOTES),
    "notes before, between and after events": sample(NOTES, events(1), NOTES, NOTES, events(2, 3), NOTES),
    "events beside notes": sample(events(1)._replace(metadata=NOTES.metadata), events(2)),
    "a megabyte": sample(BIG, NOTES, BIG),
}


OBJECT = an_object([BIG, NOTES], [NOTES], [events(1), BIG], block_bytes=100_000)


def ndjson(made: Sample) -> bytes:
    return b"".join(draft.payload for draft in made.drafts)


def by_library(data: bytes) -> bytes:
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
    return reader.read()


def by_tool(data: bytes) -> bytes:
    assert ZSTD is not None
    return subprocess.run([ZSTD, "-dc"], input=data, capture_output=True, check=True).stdout


needs_zstd = pytest.mark.skipif(ZSTD is None, reason="the zstd command is not installed")


@pytest.mark.parametrize("made", SAMPLES.values(), ids=SAMPLES)
def test_the_library_prints_the_events(made: Sample) -> None:
    assert by_library(made.data) == ndjson(made)


@needs_zstd
@pytest.mark.parametrize("made", SAMPLES.values(), ids=SAMPLES)
def test_the_zstd_command_prints_the_events(made: Sample) -> None:
    assert by_tool(made.data) == ndjson(made)


@settings(deadline=None)
@given(any_samples)
def test_the_library_prints_the_events_of_any_segment(made: Sample) -> None:
    assert by_library(made.data) == ndjson(made)


@needs_zstd
@settings(deadline=None, max_examples=examples(25))
@given(any_samples)
def test_the_zstd_command_prints_the_events_of_any_segment(made: Sample) -> None:
    assert by_tool(made.data) == ndjson(made)


@needs_zstd
def test_the_zstd_command_finds_no_fault_with_a_segment() -> None:
    made = SAMPLES["notes before, between and after events"]
    subprocess.run([str(ZSTD), "-tq"], input=made.data, capture_output=True, check=True)


@needs_zstd
def test_segments_of_a_recording_can_be_joined() -> None:
    joined = SAMPLES["a megabyte"].data + sample(events(5)).data + encode_identity(IDENTITY)
    assert by_tool(joined) == by_library(joined) == BIG.payload * 2 + events(5).payload


@needs_zstd
def test_the_zstd_command_prints_the_events_of_an_object_and_finds_no_fault_with_it() -> None:
    assert by_tool(OBJECT) == by_library(OBJECT) == BIG.payload + events(1).payload + BIG.payload
    subprocess.run([str(ZSTD), "-tq"], input=OBJECT, capture_output=True, check=True)
