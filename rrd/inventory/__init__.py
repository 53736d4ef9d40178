"""What there is of the recordings: read from files and objects, and held against the index.

``survey``       segment files as they lie on disk, and which of their blocks the index lacks
``census``       objects as the store has them, read by their tables, many at a time
``contents``     all bytes of one recording
``differences``  each way in which index, files and objects can disagree
``proof``        whether what one file holds is stored elsewhere, line for line

A start, a rebuild, ``rrd verify`` and ``rrd doctor`` stand on it.
"""
