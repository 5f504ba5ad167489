"""A scoring run on many machines: Ray Data hands images to processes of a cluster, which do with them what this one would do.

Nothing here is imported by a service, nor is Ray before a run wants it (the extra `ray`).
"""
