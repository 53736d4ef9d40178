"""A consistent copy of a data directory in use, and the way back.

``staging``   hard links that keep segments while a backup is made
``contents``  what an index says must be in a backup
``manifest``  what a backup says about itself, and files with checksums
``backup``    a consistent copy of a data directory in use
``rotation``  dated backups side by side, of which the newest stay
``restore``   such a copy → a data directory
"""
