"""What runs in browsers: the recorder that pages load, and the replayer that stands in exported pages.

Both are published packages of rrweb with code of ours around them. ``make assets`` (``assets/build.mjs``)
takes them from npm by lock file and puts them together below ``built/``, which no repository holds, and each
wheel that was built after it.

``files``  them, read and checked
"""
