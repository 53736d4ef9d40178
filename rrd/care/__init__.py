"""Proof and repair: what there is, whether it agrees, and how to mend it.

===================  ====================================================================
``examine.py``       everything about one recording: each difference between index, files, objects
``verify.py``        all recordings: ``rrd verify``
``kept_aside.py``    quarantined lines
``surroundings.py``  how much of a file was acked
``doctor.py``        the story of one recording: ``rrd doctor``
``refusals.py``      what senders were refused
===================  ====================================================================

It stands on ``inventory``, as a start does.
"""
