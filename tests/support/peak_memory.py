"""Runs a command, and prints its exit status and its peak memory in KiB.

A separate small process is needed, because the kernel counts the size of the parent at the fork as the child's.
"""

import os
import sys

process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
