"""The command line: words and tables over the library's public names."""
