"""A kwokctl cluster and its processes on this machine; standard library only, so that it starts fast."""
