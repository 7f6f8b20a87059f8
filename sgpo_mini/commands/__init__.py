"""The command line: one file per command, and the options that they share.

`__main__.py` builds the parser from these files and runs one command. A command checks its options,
loads problems and a student, calls one function of the package and prints the result. This wing may
import everything; only `__main__.py` and `scale/train.py` import it.
"""
