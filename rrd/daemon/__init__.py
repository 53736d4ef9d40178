"""The process: its parts put together, its start, signals and stop.

``assembly``  puts the parts together
``run``       start, listen, signals, stop
``memory``    the C library's allocator, set up
"""
