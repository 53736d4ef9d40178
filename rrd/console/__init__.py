"""What the console shows and who may use it. Nothing here knows of HTTP.

``box``       how this machine's rrd is, and was over the last day
``series``    what figures were at some thousand moments
"""
