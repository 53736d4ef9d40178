"""The console's routes: its page and files, sessions, and the API once more for those who are signed in."""

from __future__ import annotations

from aiohttp import web

from rrd.http.box import get_box
from rrd.http.console_api import post_key, post_share
from rrd.http.console_files import get_file, get_page, get_stage
from rrd.http.console_guard import signed_in
from rrd.http.console_session import delete_session, get_session, post_session
from rrd.http.events import get_events
from rrd.http.export import get_export
from rrd.http.openapi.serving import get_document_page
from rrd.http.pages import get_pages
from rrd.http.paths import CONSOLE_PATH
from rrd.http.reads import get_recording, get_statistics, list_recordings
from rrd.http.removal import delete_recording, delete_recordings
from rrd.http.replays import REPLAY_PATH, get_replay
from rrd.http.suggestions import get_metadata_keys, get_metadata_values

API_PATH = f"{CONSOLE_PATH}/api/{{tenant:[^/]+}}"
_RECORDING = f"{API_PATH}/recordings/{{recording:[^/]+}}"

# To read and to erase, and to write nothing.
READS = {
    f"{API_PATH}/recordings": list_recordings,
    f"{API_PATH}/statistics": get_statistics,
    f"{API_PATH}/metaKeys": get_metadata_keys,
    f"{API_PATH}/metaValues": get_metadata_values,
    f"{API_PATH}{REPLAY_PATH}": get_replay,
    _RECORDING: get_recording,
    f"{_RECORDING}/events": get_events,
    f"{_RECORDING}/export.html": get_export,
    f"{_RECORDING}/pages": get_pages,
}
REMOVALS = {f"{API_PATH}/recordings": delete_recordings, _RECORDING: delete_recording}


def add_console(app: web.Application) -> None:
    """Add all that lies below ``/console``."""
    router = app.router
    router.add_get(CONSOLE_PATH, get_page)
    router.add_get(f"{CONSOLE_PATH}/stage", get_stage)
    router.add_get(f"{CONSOLE_PATH}/api", get_document_page)
    router.add_get(f"{CONSOLE_PATH}/session", signed_in(get_session))
    router.add_post(f"{CONSOLE_PATH}/session", post_session)
    router.add_delete(f"{CONSOLE_PATH}/session", delete_session)
    for path, read in READS.items():
        router.add_get(path, signed_in(read))
    for path, remove in REMOVALS.items():
        router.add_delete(path, signed_in(remove))
    router.add_get(f"{CONSOLE_PATH}/api/box", signed_in(get_box))
    router.add_post(f"{_RECORDING}/share", signed_in(post_share))
    router.add_post(f"{API_PATH}/keys", signed_in(post_key))
    router.add_get(f"{CONSOLE_PATH}/{{name:[^/]+}}", get_file)
