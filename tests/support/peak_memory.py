"""Runs a command and tells on stdout its exit status and its peak memory in KiB.

A process of its own, and a small one: the peak that the kernel tells of a child begins at its parent's size.
"""

import os
import sys

process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
