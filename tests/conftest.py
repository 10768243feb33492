"""What all tests share."""

import signal

# A shell starts background jobs deaf to Ctrl-C, and the tests of Ctrl-C with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
