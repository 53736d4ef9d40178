"""What is made of a checkout to be installed elsewhere: a wheel, a Debian package.

::

    make wheel ─▶ wheel       ─┐ tree: the tracked files and what browsers run, copied
    make deb   ─▶ deb         ─┘ version: what the package is called, from the history
                   │ dpkg-buildpackage, debian/rules
                   ├─▶ environment   /usr/lib/rrd, from the lock file's wheels and rrd's own
                   └─▶ manual        man pages and completion, from the parser and config/rrd.toml

All of it runs in ``.venv-release``, which the Makefile makes of Debian's own Python.
"""
