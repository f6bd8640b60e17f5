"""The program on Kubernetes: manifests, and what tries them."""
