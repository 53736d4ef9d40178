"""Bytes → batches of checked events. Pure: no loop, no clock, no file.

``inflate``    identity, gzip, brotli and zstd, a bounded window at a time
``lines``      NDJSON cut anywhere → whole lines
``documents``  a JSON document → its events, each on a line
``events``     lines → a batch: checked, metadata taken out, bad lines set aside
``packed``     events that ``@rrweb/packer`` has compressed
``values``     where JSON values end, for text that is no good as a whole
``decoder``    all of these behind ``feed`` and ``next_batch``
"""
