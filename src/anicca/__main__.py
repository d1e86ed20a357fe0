"""`python -m anicca`."""

from anicca.cli.app import main

if __name__ == "__main__":
    main()
