"""HTTP to an API server: kubeconfig, credentials, requests and snapshots."""
