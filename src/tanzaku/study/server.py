"""Imported first by the process that a study's others are forked from.

A SIGTERM to the whole process group, as of a service manager or a cluster's scheduler, must not end that process: it is
the one that says when a run has ended. Nor must Ctrl-C, while it still imports. The signals are held back, not ignored,
so that a process forked from this one, which inherits that, finds them as soon as it can stop in an orderly way
(`process.run_child`).
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
