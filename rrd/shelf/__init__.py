"""Where a stored recording lies.

``holdings``  what there is of one recording, in order, as its row in the index says. Pure
``shelf``     segment files of a data directory, wherever they lie. Blocking
``entries``   the entries of the folders: which are segments, and which should not be there
"""
