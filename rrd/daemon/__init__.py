"""The process: its parts put together, its start, signals and stop.

``assembly``   puts the parts together
``run``        start, signals, stop
``reload``     the settings read again
``fitting``    the settings as far as memory and handles allow
``listening``  the listening sockets
``inherited``  sockets that systemd passes on
``metrics_listener``  the listener of the metrics
``notify``     words for systemd
``watchdog``   signs of life for systemd
``greeting``   what a start prints for a person
``memory``     the C library's allocator, set up
"""
