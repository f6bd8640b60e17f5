"""Images that stand in for public ones, made of Debian's, Maven's and PyPI's packages."""
