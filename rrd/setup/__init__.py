"""``rrd setup``: one step from an installed rrd to a first event that is stored and read back.

Each step looks first, and changes only what is missing. So a second run changes nothing, and a run that was
cut off anywhere is finished by the next one.

``steps``          the order: account, settings, data directory, keys, a daemon, an event
``account``        the user that a service runs as, and the directory that is its own
``settings_file``  a settings file, made or edited line by line
``first_keys``     a key for pages and a key to read with, found again by their labels
``service``        a daemon to talk to: the system's service, one that runs, or one of setup's own
``trial``          an event, written, read back and erased through the API
``handout``        what a person needs next: the snippet for pages, curl lines, the proxy
``proxies``        the shipped files for nginx and Caddy with a name put in
``report``         one line a step
``tools``          commands of the system, with an end to their patience

``files/`` holds what ``config/`` and ``systemd/`` have, so that an installation takes it along.
"""
