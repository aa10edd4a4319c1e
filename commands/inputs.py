"""What a program gets from its Command, and from its previous run, however large the stack is.

Linux limits an environment variable to 128 KiB (MAX_ARG_STRLEN, https://man7.org/linux/man-pages/man2/execve.2.html).
"""

import base64
import json
import os
import sys
import zlib
from typing import Any


def values(*names: str) -> list[Any]:
    """Return the values with these names: from the JSON object on stdin, or from environment variables, each in JSON.

    Values that grow with the stack come on stdin. The previous release used variables for them.
    """
    variables = {name: json.loads(os.environ[name]) for name in names if name in os.environ}
    found = variables or json.load(sys.stdin)
    return [found[name] for name in names]


def packed(value: object) -> str:
    """Return the value as a short text to print: the next run gets it in the variable PULUMI_COMMAND_STDOUT."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def unpacked(text: str) -> Any:
    """Return the value of a `packed` text, or of a JSON list, which the previous release printed."""
    return json.loads(text if text.startswith("[") else zlib.decompress(base64.b64decode(text)))
