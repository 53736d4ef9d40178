"""The index in SQLite.

================== ========================================================================
``index.py``       ``SqliteIndex``: a statement or a transaction for each call
``putting.py``     how a group of blocks gets into it
``files.py``       its files, and its errors
``summaries.py``   what happened in a recording, and what lists are sorted by
``schema.sql``     tables, and the triggers that keep counters and filter sets true
``migrations.py``  versions of the file
``connections.py`` who writes, who reads, and how removed content leaves the file
``queries.py``     the statements
``listing.py``     how filtered lists are found among a million recordings
``sorting.py``     how sorted ones are, and those filtered by what happened
``facets.py``      which metadata there are
``keeping.py``     what a replaced index knew, taken over
``values.py``      values on their way into SQLite and out of it
================== ========================================================================
"""
