"""How recordings leave, and how room is kept for those that come.

================  ====================================================================
``removal.py``    taking a recording away from everywhere, whatever happens meanwhile
``retention.py``  which recordings are too old, or too many
``guard.py``      the reserve of the disk, and refusing new events near it
================  ====================================================================
"""
