"""Who may do what.

``keys``          API keys and signing keys on disk: made, changed, rotated, revoked
``rows``          what is known about a key
``schema``        what that file looks like inside, and how older ones become today's
``lifetime``      when a key is good, and until when
``origins``       the pages that a key is bound to
``temporary``     keys that end with the process that made them
``signing``       presigned URLs
``signing_file``  signing keys that stand in a file of their own
``gate``          the answer: may this request do that?
``uses``          when each key was used last
``notices``       which keys are about to expire
"""
