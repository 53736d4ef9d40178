"""Recordings that are open for writing, from a batch of events to a synced block.

``repeats``    exact de-duplication: the rule
``history``    what the files hold of a recording, as far as repeats ask for it
``source``     one body or socket that writes to a recording
``states``     the states of a recording and of a segment, as tables
``recording``  one open recording
``lookup``     repeats found in what is stored
``committer``  group commit: blocks → segments, synced → index → acks
``unindexed``  blocks that the index would not take yet
``sealer``     segments that are finished, until they are sealed
``writes``     whether writes succeed
``registry``   all open recordings: opened, sealed, closed, refused
``claims``     who is busy with a recording's files
"""
