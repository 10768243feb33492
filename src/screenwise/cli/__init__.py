"""The command line: one file per family of commands, `launch` turns a call into an exit code."""

from screenwise.cli.launch import main
from screenwise.cli.root import app

__all__ = ["app", "main"]
