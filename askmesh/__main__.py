"""`python -m askmesh` is the command line."""

from askmesh.cli import main

main()
