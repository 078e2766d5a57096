"""`darl` with a noise schedule that fails in the way that its `mode` names."""

import bad_noise  # noqa: F401  (which makes it known)

from darl.cli.main import main

if __name__ == "__main__":
    main()
