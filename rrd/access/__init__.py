"""Who may do what: keys on disk (``keys``), presigned URLs (``signing``), and the answer (``gate``)."""
