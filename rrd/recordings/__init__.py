"""Recordings that are open for writing, from a batch of events to a synced block.

``repeats``    exact de-duplication: the rule
``history``    what the files hold of a recording, and which lines of a batch are repeats of that
``source``     one body or socket that writes to a recording
``states``     the states of a recording and of a segment, as tables
``recording``  one open recording
``ready``      which recording is next, tenant by tenant
``committer``  group commit: blocks → segments, synced → index → acks
``sealer``     segments that are finished, until they are sealed; blocks that the index would not take
``writes``     whether writes succeed
``registry``   all open recordings: opened, sealed, closed, refused
``followers``  who is told of each new block
``claims``     who is busy with a recording's files
"""
