"""How recordings leave, and how room is kept for those that come.

================  ====================================================================
``removal.py``    taking a recording away from everywhere, whatever happens meanwhile; what lies in
                  the data directory by ``local_files.py``, what comes meanwhile by ``departures.py``
``retention.py``  which recordings are too old, or too many; ``rounds.py`` has them removed,
                  ``holds.py`` asks a person first, ``wall_clock.py`` doubts the date
``guard.py``      the reserve of the disk, and refusing new events near it
================  ====================================================================
"""
