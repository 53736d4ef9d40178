"""Object storage: one protocol, a local directory and S3 behind it, and reading of parts with a cache.

==============  =====================================================================
``store.py``    ``ObjectStore``: what rrd asks of an object store
``local.py``    a local directory, the default
``s3.py``       S3 and what speaks like it, with ``s3_client.py`` (calls), ``s3_body.py`` (what is sent, and
                whether it arrived) and ``s3_errors.py`` (what errors mean)
``choose.py``   the store that the settings ask for
``identity.py`` whose it is: an id in both
``files.py``    objects as files to read from, for worker threads: cache, deadline
``window.py``   a range of an object that ``files.py`` holds
==============  =====================================================================
"""
