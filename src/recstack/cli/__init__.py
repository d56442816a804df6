"""The command line: one file per verb; everything that it does can be done from Python.

Exit codes: 0 done, 1 a check failed (budget, SLA), 2 bad usage or input.
"""

from recstack.cli.app import main

__all__ = ["main"]
