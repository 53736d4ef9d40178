"""Settings, from their declaration to what they must be together.

``settings``     the table: each key, its type, bounds and default
``load``         command line, environment, file, defaults → one table
``lines``        on which line of the file one of them stands
``entries``      the text inside of a setting that is an age, or a list of ``NAME=VALUE``
``listen``       the address in a setting that names a listener
``credentials``  files that systemd hands to the service alone
``checks``       what settings must be as a whole, and what is odd; for ``serve`` and ``check-config``
``changes``      which of them count without a restart, and what became of those that were read again
``reference``    docs/settings.md, made of the table and of config/rrd.toml
"""

from rrd.config.load import load_config
from rrd.config.settings import GIB, KIB, MIB, Config

__all__ = ["GIB", "KIB", "MIB", "Config", "load_config"]
