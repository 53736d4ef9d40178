"""The process: its parts put together, its start, signals and stop.

``assembly``   puts the parts together
``run``        start, signals, stop
``listening``  the listening sockets
``inherited``  sockets that systemd passes on
``metrics_listener``  the listener of the metrics
``notify``     words for systemd
``watchdog``   signs of life for systemd
``greeting``   what a start prints for a person
``memory``     the C library's allocator, set up
"""
