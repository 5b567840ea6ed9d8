"""A closed terminal (SIGHUP) is the server's to handle: it ends its calls as after SIGTERM. Their processes ignore it.

The framework's fork server imports this before it makes any of them (`startup.server_options`).
"""

import signal

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
