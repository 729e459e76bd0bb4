"""The command `flyte` of flyte 2, which ends the process itself.

In 1 of 20 runs, threads of the SDK's HTTP client abort the process while the interpreter shuts down, after the work.
"""

import os
import sys

from flyte.cli.main import main

try:
    main()
    code = 0
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
