"""`python -m screenwise.cli` is `screenwise`."""

from screenwise.cli.launch import main

main()
