"""How the program works with the Pulumi engine."""

import asyncio
import signal
import sys
from types import TracebackType
from typing import Any

import grpc
import pulumi
from pulumi.runtime.settings import _get_rpc_manager


def end_with_the_engine() -> None:
    """Print no stack trace when the engine ends the program: the engine itself says why.

    After a failure the engine closes its connections and interrupts the program, as Ctrl-C does. Pulumi's runtime
    expects neither the interrupt nor an error while it reports an error:
    https://github.com/pulumi/pulumi/blob/v3.276.0/sdk/go/common/util/cmdutil/term.go,
    https://github.com/pulumi/pulumi/blob/v3.276.0/sdk/python/cmd/pulumi-language-python-exec.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = _show_unless_disconnected


def _show_unless_disconnected(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not isinstance(error, grpc.RpcError):
        sys.__excepthook__(kind, error, traceback)


def sleep_until(output: pulumi.Output[Any]) -> None:
    """Make the SDK wait for `output`, which depends on everything else, before it polls for outstanding outputs.

    The SDK polls without a pause: `wait_for_rpcs` in pulumi/runtime/stack.py of 3.272. That takes a whole CPU from the
    control plane that starts at the same time, half of the cost of an update of the dev stack. The SDK sleeps while it
    waits for the calls in this list, which is still empty at this point.
    """
    _get_rpc_manager().rpcs.append(asyncio.ensure_future(output.future()))
