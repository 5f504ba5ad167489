"""Writes docs/openapi.json from the application, or with --check fails if it is not what the application says."""

import json
import sys
from pathlib import Path

from service.app import create_app
from service.settings import Settings

SNAPSHOT = Path(__file__).parent.parent / "docs" / "openapi.json"


def main() -> int:
    """Return the exit status."""
    settings = Settings.model_validate({"models_dir": "models/store", "data_dir": ".parallax"})
    text = json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        SNAPSHOT.write_text(text, encoding="utf-8")
        return 0
    if SNAPSHOT.exists() and SNAPSHOT.read_text(encoding="utf-8") == text:
        return 0
    print("docs/openapi.json is not what the application says. Run: make openapi", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
