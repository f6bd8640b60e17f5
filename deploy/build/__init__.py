"""What builds the project: its environment, the generated codec, the compiled form."""
