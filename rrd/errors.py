"""Every error that rrd raises on purpose: one tree, whose types say whose fault it is.

::

    RrdError
    ├── WireError            the sender's bytes: 4xx, what came before is kept
    │   ├── BadFraming           400  a body whose end or chunks can't be made out
    │   ├── BrokenEncoding       400  compression that can't be decoded
    │   ├── TooLarge             413  an event, message, document or body over its limit
    │   ├── TooManyBadLines      400  a source goes on sending what is no event (``recordings.source``)
    │   └── ForeignFile          400  a file of a format that holds no events (``exchange.foreign``)
    ├── RequestError         the request: parameters, paths, types
    │   ├── BadRequest           400
    │   ├── NotFound             404
    │   ├── NotAcceptable        406
    │   ├── UpgradeRequired      426  a WebSocket of another version
    │   ├── Gone                 410  erased, and not to come back
    │   ├── LengthRequired       411  a body whose end the request doesn't tell
    │   ├── UnsupportedType      415
    │   └── Misdirected          421  the console under a foreign name (``http.console_guard``)
    ├── AccessError          who may do what
    │   ├── Unauthenticated      401
    │   └── Forbidden            403
    ├── RefusedError         ours to refuse, for now
    │   ├── DiskFull             507
    │   ├── StorageFailed        500  a write or sync failed: nothing was acked
    │   │   └── IndexBusy            503  another process holds the index locked
    │   ├── DataDirGone          503  the data directory is not the one that was opened
    │   ├── TooManySockets       503
    │   ├── TooManyRecordings    503  as many are open as may be (``recordings.registry``)
    │   ├── TooManyWatchers      503  as many watch as may (``recordings.followers``)
    │   ├── TooManyRequests      503  as many are under way as may be (``shares.admission``)
    │   ├── TooManyReads         503  answers take all the memory for answers (``http.reading``)
    │   ├── TooMuchUnfinished    503  what is unfinished takes all its memory (``http.budget``)
    │   ├── NoAssets             503  made without npm: no scripts for browsers (``assets.files``)
    │   ├── TooManyTries         429  too many wrong keys at the console (``console.tries``)
    │   ├── OverQuota            429  a sender's quota is used up (``shares.quotas``)
    │   ├── NotReady             503
    │   └── ShuttingDown         503
    ├── HeadRefused          a request without a handler, of any status (``http.framing``)
    ├── TooSlow              408  a message or body that takes too long (``http.budget``)
    ├── ObjectError          the object store
    │   ├── StoreAway            503  it can't be reached, refuses, or is too slow: try again later
    │   │   ├── WrongStore           503  it is not the one that this data directory uses
    │   │   └── NotOffered           503  the server knows no such operation (``objects.s3_errors``)
    │   ├── ObjectMissing             there is no such object
    │   │   └── ObjectUnreadable          it is there, and its bytes can't be had: a bad disk, permissions
    │   ├── ObjectRejected            it is there, and what it holds is not what was put
    │   └── BeyondEnd                 a range begins beyond its end (``objects.s3_errors``)
    ├── SegmentError         our own files
    │   ├── CorruptSegment            damage that a power cut doesn't explain
    │   └── NotMoved                  sealed in the index, and still in ``active/`` (``rollup.make``)
    ├── StaleHistory         a file is not where the history knows it (``recordings.history``)
    ├── IndexDamaged         SQLite can't read the index: rebuild it
    ├── Damaged              a backup doesn't hold what its checksums say (``backup.restore``)
    ├── SetupFailed          a step of ``rrd setup`` that could not be done (``setup.tools``)
    ├── NoAnswer             no daemon answers at its control socket (``cli.asking``)
    ├── PostFailed           an import that a daemon didn't take (``exchange.posting``)
    └── ConfigError          a setting that can't be used

``code`` is a stable word for programs, ``status`` the HTTP status (RFC 9110, section 15) that
such an error is answered with; both are class attributes, so a handler needs no table. A number
that is missing above is 500. A module in brackets defines the error beside the only code that
raises it.
"""

from __future__ import annotations


class RrdError(Exception):
    """Base of all errors raised by rrd. ``str(error)`` is a sentence for people."""

    code: str = "internal"
    status: int = 500


class WireError(RrdError):
    """The sender's bytes can't be decoded any further. What came before is good."""

    code = "bad_body"
    status = 400


class BadFraming(WireError):
    """A body breaks the rules of its transfer coding (RFC 9112, 7.1). What came before is good."""

    code = "bad_framing"


class BrokenEncoding(WireError):
    """A compressed stream is damaged or cut off."""

    code = "broken_encoding"


class TooLarge(WireError):
    """An event, message, document or body is over its limit (RFC 9110, 15.5.14)."""

    code = "too_large"
    status = 413


class RequestError(RrdError):
    """The request itself is at fault."""

    code = "bad_request"
    status = 400


class BadRequest(RequestError):
    """A parameter, path or body that makes no sense."""

    def __init__(self, message: str, *, code: str = "bad_request", parameter: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter


class NotFound(RequestError):
    """There is no such thing, or it belongs to another tenant."""

    code = "not_found"
    status = 404


class NotAcceptable(RequestError):
    """What was asked for comes in one encoding, which the caller doesn't accept (RFC 9110, 15.5.7)."""

    code = "not_acceptable"
    status = 406


class UpgradeRequired(RequestError):
    """A WebSocket handshake in a version that is not spoken here (RFC 6455, 4.4; RFC 9110, 15.5.22)."""

    code = "websocket_version"
    status = 426


class Gone(RequestError):
    """The recording was erased, and a tombstone keeps it from coming back (RFC 9110, 15.5.11)."""

    code = "recording_erased"
    status = 410


class LengthRequired(RequestError):
    """The request doesn't say where its body ends (RFC 9110, 15.5.12)."""

    code = "length_required"
    status = 411


class UnsupportedType(RequestError):
    """A Content-Type or Content-Encoding that is not served (RFC 9110, 15.5.16)."""

    code = "unsupported_type"
    status = 415


class AccessError(RrdError):
    """The caller may not do this."""

    code = "access_denied"
    status = 403


class Unauthenticated(AccessError):
    """No key, a wrong key, a revoked key, or a signature that does not match."""

    code = "unauthenticated"
    status = 401


class Forbidden(AccessError):
    """A good key without the right that this needs."""

    code = "forbidden"
    status = 403


class RefusedError(RrdError):
    """The server can't take this now, though the request is well formed."""

    code = "refused"
    status = 503
    retry_after_s: int | None = None
    """When it is worth to try again, where that is known."""


class DiskFull(RefusedError):
    """No space left for new data (RFC 4918, 11.5)."""

    code = "disk_full"
    status = 507


class StorageFailed(RefusedError):
    """A write or sync failed, so the events are not safe and were not acked."""

    code = "storage_failed"
    status = 500


class IndexBusy(StorageFailed):
    """Another process held the index locked for longer than a write waits."""

    code = "index_busy"
    status = 503


class DataDirGone(RefusedError):
    """The data directory was deleted, moved or unmounted: what is written would be lost."""

    code = "data_dir_gone"


class TooManySockets(RefusedError):
    """``sockets_max`` sockets are open, or the sender's share of them."""

    code = "too_many_sockets"
    retry_after_s = 30


class NotReady(RefusedError):
    """The daemon is starting: its index isn't up to date yet."""

    code = "not_ready"
    retry_after_s = 5


class ShuttingDown(RefusedError):
    """The daemon is stopping."""

    code = "shutting_down"


class ObjectError(RrdError):
    """Something is wrong with the object store, or with an object in it."""

    code = "object_error"


class StoreAway(ObjectError):
    """The object store can't be reached, refuses, or did not answer in time. Trying again later may help."""

    code = "object_store_away"
    status = 503


class WrongStore(StoreAway):
    """The store is not the one that this data directory uses. Nothing is written to it or deleted in it."""

    code = "wrong_object_store"


class ObjectMissing(ObjectError):
    """There is no object of this key."""

    code = "object_missing"


class ObjectUnreadable(ObjectMissing):
    """The object is there, and can't be read: a disk's fault, or missing permission. ``errno`` says which.

    Until that changes it is as good as missing; asking again soon does not help.
    """

    code = "object_unreadable"

    def __init__(self, message: str, *, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class ObjectRejected(ObjectError):
    """The store's own size or checksum of an object is not that of what was put."""

    code = "object_rejected"


class SegmentError(RrdError):
    """A segment file does not hold what it should. ``path`` and ``offset`` (bytes) say where."""

    code = "segment_error"

    def __init__(self, message: str, *, path: str, offset: int) -> None:
        super().__init__(f"{path}: {message} at byte {offset}")
        self.path = path
        self.offset = offset


class CorruptSegment(SegmentError):
    """Damage that a power cut doesn't explain."""

    code = "corrupt_segment"


class IndexDamaged(RrdError):
    """SQLite refuses the index file. Nothing is lost: ``rrd reindex`` rebuilds it."""

    code = "index_damaged"


class ConfigError(RrdError):
    """A setting is unknown, has the wrong type or is out of bounds."""

    code = "bad_config"


def without_frames(error: BaseException) -> BaseException:
    """Return ``error`` itself, without the frames that it came through, nor those of its causes.

    An error that an object keeps would keep that object alive, since the frames know it, with all its
    buffers, until the next collection of garbage; and that may be hours away.
    """
    known: BaseException | None = error
    while known is not None:
        known.__traceback__ = None
        known = known.__cause__ or known.__context__
    return error
