"""Tools that build the project: its environment, the generated codec, the compiled copy, the documents' tables."""
