"""What a terminal does to a server process that still imports when somebody presses Ctrl-C."""

import os
import signal

os.kill(os.getpid(), signal.SIGINT)
