"""`python -m ddspec` is `ddspec`."""

from ddspec.cli import main

main()
