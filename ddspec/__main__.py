"""`python -m ddspec` is `ddspec`."""

from ddspec.cli.entry import main

main()
