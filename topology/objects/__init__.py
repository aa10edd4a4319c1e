"""Renders the Kubernetes objects of a stack."""
