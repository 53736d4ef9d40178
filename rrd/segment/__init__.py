"""Blocks of events ↔ segment files on the local disk. No event loop in here.

``format``  the bytes of a block, both ways (FORMAT.md says what they mean)
``disk``    the operating system, behind a protocol
``writer``  one segment that is appended to
``commit``  blocks of many segments written and synced together
``scan``    a read-only verdict on a segment: clean, torn or corrupt
``repair``  what to do about the verdict
``reader``  events and notes of a block
``inspect`` a segment told to people
"""
