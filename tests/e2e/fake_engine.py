"""An engine that ends at the first resource that the program registers, as the real one does after a failure."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc

STACK_URN = "urn:pulumi:dev::kwok-dra::pulumi:pulumi:Stack::kwok-dra-dev"


class _Engine(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):
    """Registers the stack, and then no resource and no error any more."""

    def __init__(self, at_the_end: Callable[[], None]) -> None:
        self._at_the_end = at_the_end
        self._has_ended = False

    def GetDeploymentInfo(self, request: Empty, context: grpc.ServicerContext) -> resource_pb2.DeploymentInfo:
        return resource_pb2.DeploymentInfo()

    def RegisterResource(
        self, request: resource_pb2.RegisterResourceRequest, context: grpc.ServicerContext
    ) -> resource_pb2.RegisterResourceResponse:
        if request.type != "pulumi:pulumi:Stack":
            self._has_ended = True
            self._at_the_end()
            context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has ended")
        return resource_pb2.RegisterResourceResponse(urn=STACK_URN)

    def Log(self, request: engine_pb2.LogRequest, context: grpc.ServicerContext) -> Empty:
        if self._has_ended and request.severity == engine_pb2.ERROR:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has ended")
        return Empty()


@contextmanager
def ending_engine(at_the_end: Callable[[], None]) -> Iterator[str]:
    """Provide its address."""
    engine = _Engine(at_the_end)
    server = grpc.server(ThreadPoolExecutor())
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(engine, server)
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
