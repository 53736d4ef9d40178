"""Benches: what this daemon carries, beside what the machine could do at best and what others do with it.

``load``     a load generator for any endpoint that speaks the API, with a check that what was acked is there
``floors``   the least work that the same bytes could cost, each as a server or a loop
``peers``    what somebody would write instead in an hour
``corpus``   real recordings, and what is derived from them
``rows``     one module for each row of the table: it sets the scene, measures, and returns ``result.Row``
``run``      all rows in turn, the table, ``results/*.json`` and the ``report``

``stage`` puts servers and clients on their cores and lets them take turns, ``payloads`` makes the bytes,
``blast`` sends them, ``lanes`` are the servers to send them to. ``daemon`` starts an ``rrd serve`` to be
measured, ``frames`` is the client's half of RFC 6455. Nothing here is imported by ``rrd``, and nothing is
timed in the test suite.
"""
