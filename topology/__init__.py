"""What is simulated, without Pulumi: configuration, GPU catalogue, and the Kubernetes objects made of them."""
