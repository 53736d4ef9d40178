"""Who may do what: keys on disk (``keys``, ``temporary``), the pages they are bound
to (``origins``), presigned URLs (``signing``), and the answer (``gate``)."""
