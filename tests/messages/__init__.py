"""Sending messages with the program."""
