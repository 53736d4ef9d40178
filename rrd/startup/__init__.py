"""From what a crash left to a daemon that takes events; and ``rrd reindex``.

``recovery``    the order of a start
``catch_up``    segments that know more than the index
``rebuild``     an index made anew out of segments and objects
``spool``       what a census found, on disk until a rebuild knows all
``remembered``  what the old index knew that no file tells
"""
