"""Lets the program sleep while the engine is at work."""

import asyncio
from typing import Any

import pulumi
from pulumi.runtime.settings import _get_rpc_manager


def sleep_until(output: pulumi.Output[Any]) -> None:
    """Have the SDK wait for `output`, which needs everything else, before it looks for outputs that are outstanding.

    It looks for them without a pause: `wait_for_rpcs` in pulumi/runtime/stack.py of 3.272. So it takes a whole CPU from
    the control plane that starts at the same time, half of what an update of the dev stack costs. For the calls in this
    list, which is still empty at that moment, it sleeps.
    """
    _get_rpc_manager().rpcs.append(asyncio.ensure_future(output.future()))
