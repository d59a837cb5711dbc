"""Carrying out a study: prepare, plan, execute, store."""

import logging

# On a CPU it warns at import that an inference kernel is missing, which training does not use.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
