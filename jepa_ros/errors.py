# SPDX-License-Identifier: Apache-2.0
"""The base of every error that a user of this package can cause and can mend.

The command line prints such an error as one line and exits with 2; anything else is a bug and keeps its traceback.
"""


class JepaRosError(Exception):
    """A mistake in an input. The message names the file, key or topic, what was found and what to do."""
