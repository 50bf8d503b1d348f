"""The rig: the real servers that tests, benches and developers run, with no containers.

part.py says what a part is and holds the ways to build one; catalogue.py lists the parts; process.py runs a server;
each other module is one server: how it is built and how it is started. Standard library only: `make rig` runs before
anything is installed.
"""
