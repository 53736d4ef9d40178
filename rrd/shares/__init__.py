"""Who may have how much of what all share. Knows no HTTP.

``limits``    the quotas of the settings; pure
``quotas``    who is over one, refused or slowed down by a ``bucket``
``admission`` who may come in
``queue``     those who wait, taken by turns: tenant after tenant, and key after key within one
``threads``   threads for blocking work, with such a queue in front
``room``      a number of places, or bytes, of which one tenant never gets the last
"""
