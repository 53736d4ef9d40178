"""The HTTP API: thin shells around registry, index and playback.

``app``          routes, and what all requests share
``problems``     errors as JSON; CORS
``negotiate``    Accept and Accept-Encoding
``caller``       who asks: key, tenant, recording id, visitor
``ingest_post``  events in a body
``ingest_ws``    events over a socket, and ``socket_ingest`` one of them on its way into its recording
``socket_replies``  what the server says over one
``hold``         what one connection makes the daemon hold
``budget``       what all senders make the daemon hold, shared fairly
``turns``        how much is read, and how many sockets open, in one turn of the event loop, shared fairly
``server``       all connections: how many, and who may have one more
``connection``   one of them, below the handlers
``upgrade``      the opening handshake of a socket, checked
``frames``       frames of a socket, parsed a bounded number in one turn of the event loop
``runs``         what waits to be received on a socket, its text messages in runs
``gathering``    a socket whose messages gather, and that reads to its end whatever can't be written
``deflate``      permessage-deflate
``sockets``      all open sockets: pings, timed flushes, goodbye
``meta``         metadata by itself
``reads``        events, recordings, statistics
"""
