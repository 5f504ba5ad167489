"""Open files, of which every connection is one."""

import logging
import sys

log = logging.getLogger("parallax.descriptors")

ENOUGH = 65_536
"""Where the system sets no limit, or none that it keeps."""


def allow_many() -> None:
    """Raise this process's soft limit to the hard one, as Go's runtime does. Shells give 1,024, for the sake of select()."""
    if sys.platform == "win32":  # pragma: no cover
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    except (ValueError, OSError) as exc:
        log.warning("the limit of open files stays as it is", extra={"limit": soft, "reason": str(exc)})
