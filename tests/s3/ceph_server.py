"""A Ceph cluster of one node and its S3 door, the RADOS gateway: a distributed store, over http and https.

Three processes: a monitor, one OSD on a sparse file, ``radosgw``. No keys between them (``auth_* = none``),
since all listen on 127.0.0.1 and hold nothing but tests' data; S3 requests are signed and checked as ever.
Its data are kept over a kill. Ceph 16 (Debian 12) accepts and forgets ``x-amz-checksum-*``, and checks the
signed hash of a body. See https://docs.ceph.com/en/pacific/radosgw/config-ref/ for the settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.s3.server import S3Server

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_bind_ipv6 = false
# Below the ports of outgoing connections, one of which could take ours while the cluster is down.
ms_bind_port_min = 20000
ms_bind_port_max = 20999
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# Without keys nothing can be encrypted, which the gateway would insist on.
ms_mon_client_mode = crc
run_dir = {directory}
admin_socket = {directory}/$name.asok
log_file = {directory}/$name.log
crash_dir = {directory}
pid_file =
log_to_stderr = false
err_to_stderr = true
# One OSD has one copy of everything.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000

[mon]
mon_data = {directory}/mon
mon_cluster_log_file = {directory}/cluster.log
# The monitor ends itself when the file system is fuller than this (percent free).
mon_data_avail_crit = 1
mon_data_avail_warn = 2
# New maps come at once instead of every second, and pools with them.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01

[osd]
osd_data = {directory}/osd
osd_objectstore = bluestore
bluestore_block_size = 17179869184
bluestore_fsck_on_mkfs = false
osd_memory_target = 1073741824
osd_mclock_skip_benchmark = true
osd_class_load_list = *
osd_class_default_list = *
# A gateway that was killed counts as a watcher for so long (30 s), and whoever makes a bucket waits for it.
osd_client_watch_timeout = 5

[client]
rgw_data = {directory}
rgw_frontends = {frontends}
# Watchers must be heard of more often than osd_client_watch_timeout.
objecter_tick_interval = 1
rgw_rados_pool_pg_num_min = 8
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
rgw_run_sync_thread = false
rgw_enable_lc_threads = false
rgw_enable_usage_log = false
# Deleted objects' space comes back after half a minute instead of two hours.
rgw_gc_obj_min_wait = 30
rgw_gc_processor_period = 30
rgw_gc_processor_max_time = 30
"""


class CephServer(S3Server):
    kind = "ceph"
    tools = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "openssl")
    doors = ("radosgw",)

    def __init__(self) -> None:
        super().__init__()
        key, certificate = self.make_certificate()
        tls_port = free_port()
        self.tls_endpoint = f"https://127.0.0.1:{tls_port}"
        self.ca = str(certificate)
        self._fsid = str(uuid.uuid4())
        self._mon_port = free_port()
        # Without tcp_nodelay many answers come 40 ms late (Nagle's algorithm against delayed acks).
        frontends = (
            f"beast tcp_nodelay=1 endpoint=127.0.0.1:{self.port} "
            f"ssl_endpoint=127.0.0.1:{tls_port} ssl_certificate={certificate} ssl_private_key={key}"
        )
        self._configuration = self.directory / "ceph.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                fsid=self._fsid, mon_port=self._mon_port, directory=self.directory, frontends=frontends
            )
        )

    async def start(self) -> None:
        is_new = not (self.directory / "mon").exists()
        conf = ("-c", self._configuration)
        if is_new:
            await self._make_monitor()
        self.spawn("mon", "ceph-mon", "-f", "-i", "a", *conf)
        await self.wait_for("mon", lambda: self._is("mon.a", "mon_status", "leader"))
        if is_new:
            await self._make_osd()
        self.spawn("osd", "ceph-osd", "-f", "-i", "0", *conf)
        # The monitor may still call the OSD of before a kill "up", so the OSD itself is asked.
        await self.wait_for("osd", lambda: self._is("osd.0", "status", "active"))
        if is_new:
            keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
            user = ("user", "create", "--uid=test", "--display-name=test", *keys)
            await self.run("radosgw-admin", *conf, "-n", "client.rgw", *user)
        self.spawn("radosgw", "radosgw", "-f", "-n", "client.rgw", *conf)
        await self.wait_for("radosgw", self.answers)

    async def _make_monitor(self) -> None:
        (self.directory / "mon").mkdir()
        monmap = self.directory / "monmap"
        address = f"[v2:127.0.0.1:{self._mon_port}]"
        await self.run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap)
        await self.run("ceph-mon", "--mkfs", "-i", "a", "-c", self._configuration, "--monmap", monmap)

    async def _make_osd(self) -> None:
        (self.directory / "osd").mkdir()
        name = str(uuid.uuid4())
        await self.run("ceph", "-c", self._configuration, "--connect-timeout", "20", "osd", "new", name, "0")
        await self.run("ceph-osd", "-i", "0", "-c", self._configuration, "--mkfs", "--osd-uuid", name)

    async def _is(self, daemon: str, question: str, state: str) -> bool:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            answer = await _ask(self.directory / f"{daemon}.asok", question)
            return bool(answer.get("state") == state)
        return False


async def _ask(path: Path, question: str) -> dict[str, Any]:
    """Ask a daemon through its admin socket, as ``ceph daemon`` does, which takes half a second to begin.

    The question is JSON and a NUL, the answer a length (4 bytes, big-endian) and JSON.
    """
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(json.dumps({"prefix": question}).encode() + b"\0")
            size = int.from_bytes(await reader.readexactly(4), "big")
            answer: dict[str, Any] = json.loads(await reader.readexactly(size))
            return answer
        finally:
            writer.close()
