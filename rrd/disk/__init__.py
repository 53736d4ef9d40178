"""The one door to the operating system's files. Blocking; knows nothing of recordings.

``disk``         what must survive a power cut, behind a protocol that tests simulate
``files``        the rest: private files, small files written whole, links, copies, trees
``shared_files`` the operator's own, which others may read: settings, a service's home
``lock``         locks between processes
``ring``         lines that several processes append, in a bounded number of files
``socket_file``  Unix sockets at a path
``sqlite_file``  a small SQLite file that nothing can rebuild

Any module may look at files (``open`` to read, ``os.stat``, ``os.scandir``). Only this package makes,
changes, moves and removes them.
"""
