"""The container image: its Dockerfile, and the tools that build it twice, list its parts and try it."""
