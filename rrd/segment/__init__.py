"""Blocks of events ↔ segment files on the local disk, and objects made of them. No event loop in here.

``format``  the bytes of a block, both ways (FORMAT.md says what they mean)
``writer``  one segment that is appended to
``commit``  blocks of many segments written and synced together
``scan``    a read-only verdict on a segment: clean, torn or corrupt
``repair``  what to do about the verdict
``salvage`` intact blocks of a damaged file
``walk``    from header to header, read ahead
``reader``  events and notes of a block
``run``     many segments of a recording, read and checked
``lines``   what packing looks at in an event
``pack``    a run of segments made into an object
``table``   what stands at the end of an object
``inspect`` a segment or object told to people
"""
