"""Each module of rrd has a test module of its name, each test can fail, and none wires a daemon by hand."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    str(path.relative_to(ROOT / "rrd").with_suffix(""))
    for path in (ROOT / "rrd").rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
}
TESTS = {
    str(path.relative_to(ROOT / "tests")): path
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
    if "node_modules" not in path.parts
}

# A test module → the modules without one of their own that it tests, and nothing smaller could.
TESTED_TOGETHER = {
    # What a start, verify, doctor and --mend find, told of by their outcome on whole data directories.
    "care/test_verify.py": "inventory/census inventory/contents inventory/differences care/examine"
    " inventory/proof inventory/survey startup/spool",
    "cli/test_cli_strays.py": "shelf/entries",
    "disk/test_small_files.py": "disk/files",
    "care/test_leftovers.py": "care/kept_aside",
    "startup/test_rebuild.py": "startup/remembered index/sqlite/keeping",
    "startup/test_recovery.py": "startup/catch_up index/home index/sqlite/files",
    # Commands are tested as they are called.
    "cli/test_cli_care.py": "care/doctor cli/doctor cli/reindex cli/verify",
    "cli/test_cli_main.py": "cli/check_config cli/common cli/serve",
    "cli/test_cli_lifecycle.py": "cli/erase cli/retention cli/vacuum",
    "cli/test_cli_transfer.py": "cli/backup cli/export cli/restore exchange/export backup/manifest"
    " backup/restore exchange/sidecar exchange/targets",
    "cli/test_cli_import.py": "cli/import_ exchange/files exchange/intake",
    "cli/test_cli_keys.py": "cli/key_flags cli/signing",
    "access/test_keys.py": "access/rows access/schema",
    "test_audit.py": "disk/ring",
    "cli/test_cli_status.py": "cli/asking http/control",
    "cli/test_cli_files.py": "cli/inspect",
    "cli/test_cli_damage.py": "care/surroundings",
    "cli/test_cli_read_only.py": "readonly",
    "http/test_ingest_post.py": "cli/quarantine http/decoding",
    "objects/test_identity.py": "cli/adopt_store",
    # Shells of the API, through the API.
    "test_daemon.py": "daemon/assembly",
    "http/test_health.py": "http/app http/services",
    "http/test_readiness.py": "recordings/writes",
    "http/test_http_reads.py": "http/answer http/events http/lookup http/reading http/writing playback/need",
    "http/test_replays.py": "http/composing",
    "http/test_reads_of_damage.py": "http/damage playback/salvage",
    "http/test_export.py": "exchange/page",
    "http/test_hostile.py": "http/connection http/server",
    "http/test_watch.py": "http/outlet",
    "http/test_untaken_lists.py": "http/pieces",
    "http/test_ingest_ws.py": "http/socket_ingest",
    "http/test_budget.py": "http/hold",
    "http/test_beat_ends.py": "http/pausing",
    "http/test_ws_frames.py": "http/runs",
    "assets/test_built_assets.py": "assets/files",
    "objects/test_files.py": "objects/window",
    "http/test_socket_ends.py": "http/gathering http/socket_replies",
    "http/test_upgrades.py": "http/upgrade",
    "http/test_slow_takers.py": "http/taking",
    "http/test_quotas.py": "http/sharing shares/admission shares/limits",
    "test_handles.py": "http/crowding http/door",
    "daemon/test_reload.py": "daemon/fitting",
    "openapi/test_openapi_document.py": "http/openapi/codes http/openapi/document http/openapi/parameters"
    " http/openapi/operations http/openapi/schemas",
    "openapi/test_openapi_answers.py": "http/openapi/of_erasing http/openapi/of_events http/openapi/of_lists"
    " http/openapi/of_server http/openapi/of_writing",
    "openapi/test_openapi_serving.py": "http/openapi/page http/openapi/serving",
    # Parts of one mechanism, tested as one.
    "index/test_index.py": "index/rows index/sqlite/listing index/sqlite/queries"
    " index/sqlite/summaries index/sqlite/facets index/sqlite/values",
    "recordings/test_recording.py": "recordings/source",
    "recordings/test_registry.py": "recordings/sealer",
    "lifecycle/test_removal_crash.py": "lifecycle/departures lifecycle/local_files",
    "lifecycle/test_rounds.py": "lifecycle/holds",
    "objects/test_s3.py": "objects/s3_client",
    "objects/test_store_contract.py": "objects/store",
    "summary/test_gather.py": "summary/chains summary/row summary/summary summary/totals",
    "playback/test_stream.py": "playback/blocks",
    "playback/test_table.py": "playback/sources",
    "rollup/test_rollup_worker.py": "rollup/make rollup/turns",
    "shares/test_room.py": "shares/threads",
    "test_log.py": "log/limit log/redaction log/traces",
    "exchange/test_foreign_forms.py": "exchange/documents exchange/foreign exchange/shapes"
    " exchange/unpacking exchange/vendors",
    "exchange/test_damaged_files.py": "exchange/archives",
    "exchange/test_same_import.py": "exchange/owners exchange/spool",
    "backup/test_backup.py": "backup/contents",
    "exchange/test_export_lines.py": "exchange/lines",
    "exchange/test_nested_origins.py": "exchange/origins",
    # The command as it is called, in directories and on machines of its own.
    "setup/test_steps.py": "cli/setup setup/first_keys setup/handout setup/tools setup/trial",
    "setup/test_service.py": "setup/account",
    "wire/test_events.py": "wire/careful wire/parse",
    "wire/test_cost.py": "wire/turns",
    "wire/test_decoder.py": "wire/limits",
}
# Modules without behaviour of their own.
NOTHING_TO_TEST = {"clock"}


def has_own(part: str) -> bool:
    """Tell whether there is a test module of a module's name, which is not that of another module."""
    *packages, name = part.split("/")
    with_package = "_".join(["test", *packages, name])
    for test in TESTS:
        found = Path(test)
        neighbour = str(found.parent / name)
        if found.stem == with_package or (
            found.stem == f"test_{name}" and (neighbour == part or neighbour not in PARTS)
        ):
            return True
    return False


def test_each_module_has_a_test_module_of_its_name_or_is_tested_with_others() -> None:
    together = {part for parts in TESTED_TOGETHER.values() for part in parts.split()}
    assert sorted(part for part in PARTS - together - NOTHING_TO_TEST if not has_own(part)) == []


def test_the_list_of_those_tested_with_others_is_as_short_as_it_can_be() -> None:
    together = [part for parts in TESTED_TOGETHER.values() for part in parts.split()]
    assert sorted({part for part in together if together.count(part) > 1}) == []
    assert sorted(part for part in {*together, *NOTHING_TO_TEST} if part not in PARTS) == []
    assert sorted(part for part in together if has_own(part)) == []
    assert sorted(TESTED_TOGETHER.keys() - TESTS.keys()) == []


# What fails a test: an assertion, what it waits for, or a helper that has one of these.
FAILS = {"raises", "fail", "until", "eventually", "warns"}


def can_fail(function: ast.AST, helpers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in FAILS or called in helpers:
                return True
    return False


def test_each_test_can_fail_by_more_than_an_exception() -> None:
    trees = [ast.parse(path.read_bytes()) for path in (ROOT / "tests").rglob("*.py") if _is_ours(path)]
    functions = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    helpers: set[str] = set()
    while more := {
        node.name
        for node in functions
        if not node.name.startswith("test_") and node.name not in helpers and can_fail(node, helpers)
    }:
        helpers |= more
    idle = [node.name for node in functions if node.name.startswith("test_") and not can_fail(node, helpers)]
    assert sorted(idle) == []


# What ``make_parts`` puts together.
WIRED = {"Committer", "Evictor", "Registry", "Remover", "RollUp"}
BY_HAND = {
    # For a disk that is low when the test says so: the daemon's own evictor looks at the real one.
    ("tests/rollup/test_evict.py", "Evictor"),
}


def test_what_tests_run_is_wired_as_it_ships() -> None:
    found = {
        (str(path.relative_to(ROOT)), called)
        for folder in ("tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if _is_ours(path)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func).rpartition(".")[2]) in WIRED
    }
    assert found == BY_HAND, "put another clock, disk or store into the Seams of make_parts (tests/wired.py)"


def _is_ours(path: Path) -> bool:
    return "node_modules" not in path.parts


# Constants of rrd that a test sets all the same, and why. All others are arguments with a default.
PATCHED = {
    "SYSTEM_CONFIG": "a path of the machine that the tests run on",
    "STORE_WAIT_S": "of a whole start, as the daemon makes it",
    "WAIT_S": "of a whole start, as the daemon makes it",
    "APPLY_MAX": "of a whole start, as the daemon makes it",
    "_SWEEP_INTERVAL_S": "of a registry, as the daemon makes it",
    "_WALK_ROW_IDS": "where an index cuts a walk, so that a small one is cut",
    "_SCRUB_PAUSE_S": "how often an index scrubs, which no caller decides",
    "_SCRUB_PAUSE_MAX_S": "as above",
}
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


def test_tests_give_bounds_as_arguments_rather_than_set_constants() -> None:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if not _is_ours(path) or "bench" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
                names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                name = str(names[0]).rpartition(".")[2] if names else ""
                if CONSTANT.fullmatch(name):
                    found.add(name)
    assert sorted(found ^ PATCHED.keys()) == []
