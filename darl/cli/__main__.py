"""`python -m darl.cli`: the `darl` command."""

from darl.cli.main import main

if __name__ == "__main__":
    main()
