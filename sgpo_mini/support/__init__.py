"""Support for the method: reading and writing files, and checks with clear error messages.

These modules read answers, records and files, check models, rewards and launchers before a run, and
monitor and save the run. To understand the method you can skip this folder. It belongs to the core:
the files one level up import it, and it imports no wing.
"""
