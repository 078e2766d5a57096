"""`darl` where a noise schedule fails in the way it is told to."""

import bad_noise  # noqa: F401  (which makes it known)

from darl.cli.main import main

if __name__ == "__main__":
    main()
