"""The HTTP API: thin shells around registry, index and playback.

``app``          routes, and what all requests share
``services``     what handlers work with
``health``       whether events are taken
``control``      the control socket, with ``report`` (how the daemon is), ``troubles`` (what hurts), ``pulse``
                 (rates and durations of now), ``busiest`` (which recordings are written to most)
``problems``     errors as JSON; ``cors`` headers for pages
``paths``        which path a request means, and ``filters`` its metadata filters
``negotiate``    Accept and Accept-Encoding
``caller``       who asks: key, tenant, recording id, visitor
``sharing``      on whose quota a request counts
``auditing``     what of that the audit log is told
``ingest_post``  events in a body
``ingest_ws``    events over a socket, and ``socket_ingest`` one of them on its way into its recording
``binary_messages``  those of one socket: one stream, decoded
``socket_replies``  what the server says over one
``once``         an event that is set once, and takes hardly any room
``hold``         what one connection makes the daemon hold
``budget``       what all senders make the daemon hold, shared fairly
``garbage``      when Python's collector looks at what open sockets hold
``turns``        how much is read, and how many sockets open, in one turn of the event loop, shared fairly
``beat``         how seldom sockets that send little are read
``pausing``      when a connection is not read: by what it holds, its turn, its beat
``decoding``     batches out of a decoder, the event loop kept free
``server``       all connections: how many, and who may have one more
``door``         accepting them while there are file handles, and ``crowding`` refusing the rest
``connection``   one of them, below the handlers; ``half_close`` closes one side of it
``framing``      where requests begin and end on it
``upgrade``      the opening handshake of a socket, checked
``frames``       frames of a socket, parsed a bounded number in one turn of the event loop
``runs``         what waits to be received on a socket, its text messages in runs
``gathering``    a socket whose messages gather, and that reads to its end whatever can't be written
``oversize``     how a message begins that is too large
``deflate``      permessage-deflate, ``deflate_offer`` what of it is agreed on, ``windows`` what a socket
                 keeps of it, and ``streams`` how many are open
``sockets``      all open sockets: pings, timed flushes, goodbye
``meta``         metadata by itself
``events``       a recording's events, and ``ranges`` which of them a query asks for
``pages``        its page views, and what happened in it
``follow``       a recording as it grows: ``watch`` one stream of it, ``outlet`` where that goes out
``reads``        recordings, statistics
``paged``        a page of them, with a link to the next, and ``cursors`` where that goes on
``lookup``       which recording a read is of, and where its blocks are
``wanted``       how a list is sorted and filtered by what happened
``suggestions``  which metadata there are
``reading``      memory and threads for a read, and ``taking`` how slow its client may be
``replays``      several recordings as one replay, and ``composing`` what it is made of
``writing``      events on their way out: form, compression, pace
``answer``       events as a response, ``pieces`` long JSON as one, ``damage`` what is missing in it
``export``       a recording as a page that replays it
``request_log``  one line a request, at debug
``recorder``     the script that pages load
``scrapes``      answers scrapes of the metrics; ``standing`` tells how full each part is, and ``exposition``
                 writes the formats
``link_host``    under which names presigned links are handed out
``removal``      erasing
``openapi``      what the API says of itself: a package
``console``      the console's routes, ``console_guard`` who may use them, ``console_session`` signing in,
                 ``console_files`` page, stage and files, ``console_api`` sharing and keys for sites,
                 ``box`` how the server is
"""
