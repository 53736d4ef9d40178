"""What happened in a run of one recording's events: page views, clicks, errors, active time. Pure.

``lines``     what is looked at in each line, in one typed decode
``pieces``    page views and checkpoints: where each begins, and what is counted in it
``chains``    what depends on the events before: runs of inputs, bursts of clicks
``activity``  seconds with user input, and how much of it there was over time
``totals``    what lists need, for any runs of a recording, and its sum
``gather``    blocks of events → a summary
``summary``   a summary: joined with the one after it, and as bytes
``packing``   a summary made while segments are packed into an object
``row``       totals as the index keeps them
``views``     pieces as they are told

Everything here adds up: the summary of two runs follows from theirs, wherever a recording was cut. What lists
need adds up in any order of time; pages do where runs don't overlap in time, and the sum says where they do
(``Summary.tangled``).
"""
