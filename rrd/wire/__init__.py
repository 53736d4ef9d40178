"""Bytes → batches of checked events. Pure: no loop, no clock, no file.

``limits``     what decoding keeps to
``codings``    which compressions a sender may use: one table
``inflate``    each of them undone, a bounded window at a time
``layers``     the same where the encoding was not, or wrongly, declared
``forms``      which form a text has whose type says nothing
``lines``      NDJSON cut anywhere → whole lines
``documents``  a JSON document → its events, each on a line
``events``     lines → a batch: checked, metadata taken out, bad lines set aside
``careful``    the lines of it that need more than one look
``metadata``   a metadata object → its good and bad pairs
``parse``      one event, and what to say where it is none
``packed``     events that ``@rrweb/packer`` has compressed
``values``     where JSON values end, for text that is no good as a whole
``turns``      how much one call does on an event loop, and in a thread
``decoder``    all of these behind ``feed`` and ``next_batch``
"""
