"""`python -m ddspec` is `ddspec`."""

from ddspec.cli.main import main

main()
