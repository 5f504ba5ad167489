"""Open files, of which every connection is one."""

import sys


def allow_many() -> None:
    """Raise this process's soft limit to the hard one, as Go's runtime does. Shells give 1,024, for the sake of select()."""
    if sys.platform == "win32":  # pragma: no cover
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
