"""The index: which recordings there are, where their segments end, their metadata, and counters.

A view of what the segment files say, fast to ask and free to lose: everything in it can be
read from them again. Keys are no view, and live elsewhere. ``sqlite`` keeps it; all of rrd outside knows:

=============== ====================================================================================
``contract.py`` ``Index``: apply, seal, plan and publish objects, remove, ask
``rows.py``     what it is told and what it answers
``home.py``     opened, made anew, replaced, set aside: the one module that knows what keeps it
=============== ====================================================================================
"""
