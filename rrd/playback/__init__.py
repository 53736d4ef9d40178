"""Recordings read back: every event in order, with the two members that readers expect.

``sources`` where a block is: a segment's local file or an object, the one standing in for the other
``table``   which blocks a recording has, from their headers alone
``bodies``  a block's lines taken apart as far as reading needs
``blocks``  the events of a table's blocks, less what is not in its range
``need``    how much memory a read takes; pure
``order``   blocks merged by (timestamp, arrival) in bounded memory; pure
``excerpt`` a page of them, and where it ends; ``landmarks`` where a replay may begin in the middle
``splice``  ``sequenceId`` and ``recordingId`` added to lines that are otherwise untouched; pure
``compose`` page views of several recordings in the order of one replay; pure
``skew``    how far a page's clock is off, from headers; pure
``outline`` a recording looked through for its page views
``retime``  events moved in time, their other bytes untouched; pure
``replay``  a composed replay: chunks for a response
``stream``  all of it together: chunks for a response
``frames``  the same as frames of a stream that goes on, and in order of arrival
``stored``  the blocks as they stand in the files, for a response too
``salvage`` what can be read of a damaged recording
``recount`` what happened in it, from its objects' summaries and by counting the rest
``hops``    either of them run in worker threads
"""
