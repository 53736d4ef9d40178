"""Floors: the least work that the same bytes could cost. Nothing that stores them safely can be as cheap.

``receivers``  bare aiohttp servers that read messages or bodies, and throw them away
``loop``       inflate, check, compress: the daemon's work on the bytes, without network, disk or index
``append``     the daemon's encoded blocks, appended to a file, each synced
``nginx``      a server in C that stores bodies in files, or sends files

``python -m bench.floors`` runs all of them shortly and prints a table.
"""
