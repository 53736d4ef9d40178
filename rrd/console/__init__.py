"""Who may use the console, and what its pages may do and show. Nothing here knows of HTTP.

``sessions``  who is signed in, in ``console.sqlite``
``desk``      what a session may do, by its keys as they are now
``tries``     how often a wrong key may be tried
``origins``   which origin shows what was recorded, for each name under which the console is asked for
``policy``    the headers that keep page and recording apart
``sign_in_url``  the address that signs an operator in
``box``       how this machine's rrd is, and was over the last day, in ``series`` of figures
"""
