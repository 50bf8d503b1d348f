"""Prometheus and promtool, from Debian's package."""

from __future__ import annotations

from askmesh.rig.debian import debian_part

PART = debian_part("prometheus", programs=["promtool", "prometheus"], used_by="mesh, deploy")
