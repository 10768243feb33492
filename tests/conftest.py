"""What all tests share."""

import os
import signal

# as the command line does: torch's idle threads spin on the processors that other tests work on
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts background jobs deaf to Ctrl-C, and the tests of Ctrl-C with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
