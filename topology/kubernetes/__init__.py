"""Facts of Kubernetes that hold for every stack."""
