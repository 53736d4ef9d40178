"""Recordings that are open for writing, from a batch of events to a synced block.

``repeats``    exact de-duplication: the rule
``history``    what the files hold of a recording, as far as repeats ask for it
``source``     one body or socket that writes to a recording
``recording``  one open recording
``committer``  group commit: blocks → segments, synced → index → acks
``writes``     whether writes succeed
``registry``   all open recordings: opened, sealed, closed, refused
``claims``     who is busy with a recording's files
"""
