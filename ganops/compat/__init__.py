"""Functions and classes under the names, with the defaults and quirks, that widely used repositories give them.

One module for each repository, so that an import line is the whole change. Each names what it stands in for; the code
is this package's own.
"""
