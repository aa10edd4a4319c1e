"""How the program ends when the engine ends it."""

import signal
import sys
from types import TracebackType

import grpc


def end_with_the_engine() -> None:
    """Print no stack trace when the engine ends the program: it says why itself.

    After a failure the engine closes its connections and interrupts the program, as Ctrl-C does. Pulumi's runtime does
    not expect the interrupt, nor an error while it reports an error:
    https://github.com/pulumi/pulumi/blob/v3.276.0/sdk/go/common/util/cmdutil/term.go,
    https://github.com/pulumi/pulumi/blob/v3.276.0/sdk/python/cmd/pulumi-language-python-exec.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = _show_unless_not_reported


def _show_unless_not_reported(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not isinstance(error, grpc.RpcError):
        sys.__excepthook__(kind, error, traceback)
