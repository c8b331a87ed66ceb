"""The user's setup and login on this machine, for agents on other hosts.

Nothing here changes a file of this machine, and an unreadable file is skipped with a notice.
"""
