"""The index: which recordings there are, where their segments end, their metadata, and counters.

A view in SQLite of what the segment files say, fast to ask and free to lose: everything in it can be
read from them again. Keys are no view, and live elsewhere.

================== ========================================================================
``index.py``       ``Index``: open, apply, seal, plan and publish objects, remove, ask
``rows.py``        what it is told and what it answers
``schema.sql``     tables, and the triggers that keep counters and filter sets true
``v2.sql``         objects and removal: the same for the second version
``v3.sql``         wider rows for the filter sets
``migrations.py``  versions of the file
``connections.py`` who writes, who reads, and how removed content leaves the file
``queries.py``     the statements
``listing.py``     how filtered lists are found among a million recordings
``values.py``      values on their way into SQLite and out of it
================== ========================================================================
"""
