"""Who may import whom, read from the source: the rules of the design, held for every file that there is or will be."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "service", "training", "loadtest")

HTTP = {"fastapi", "starlette"}
HEAVY = {"keras", "onnx", "plotly", "pyarrow", "ray", "scipy", "sklearn", "tensorflow", "tf2onnx"}
"""What costs seconds and hundreds of megabytes to import."""

LAYERS: Sequence[Sequence[str]] = (
    ("errors", "domain", "addresses", "migrations"),
    (
        "tuning",
        "fairness",
        "niceness",
        "interpreter",
        "memory",
        "descriptors",
        "activity",
        "alarms",
        "callers",
        "remote_settings",
        "custom_vision_api_settings",
        "otel_settings",
        "tally",
        "tracing",
    ),
    ("settings", "admission", "batching", "decoding", "lanes", "fetching", "logs", "pricing", "remote_metrics", "served_metrics"),
    ("plans", "database"),
    ("telemetry", "siblings"),
    ("backends", "workers"),
    ("running",),
    ("registry",),
    ("tuner", "watcher"),
    ("pipeline",),
    ("otel",),
    ("scoring",),
    ("cluster",),
    ("api",),
    ("app",),
    ("server",),
    ("score",),
    ("cli",),
)
"""Of the service, lowest first: each imports from those above it in this list, and from its own package."""

MAX_LINES = 250
LONG_FILES: frozenset[str] = frozenset()
"""Files that may be longer, for a reason that stands in them."""


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    file: str
    line: int
    module: str
    always: bool
    """When the file itself is imported, and not only when a function of it is called or a type is checked."""

    @property
    def package(self) -> str:
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def inside(file: str, *places: str) -> bool:
    """Whether a file is one of these, or in one of these folders (which end with /)."""
    return any(file == place or (place.endswith("/") and file.startswith(place)) for place in places)


@cache
def sources() -> dict[str, ast.Module]:
    files = [ROOT / "parallax.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in files}


@cache
def imports() -> list[Import]:
    return [found for file, tree in sources().items() for found in of_file(file, tree.body, always=True)]


def of_file(file: str, nodes: Sequence[ast.AST], *, always: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, always) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(file, node.lineno, whole if is_module(whole) else str(node.module), always)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            later = later or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
            yield from of_file(file, list(ast.iter_child_nodes(node)), always=always and not later)


def is_module(name: str) -> bool:
    """Whether `from package import name` means one of our own modules."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def none(wrong: Sequence[Import]) -> None:
    assert not wrong, "\n".join(map(str, wrong))


def test_there_is_something_to_read() -> None:
    assert {"parallax.py", "models/imaging.py", "service/app.py", "training/cli.py"} <= set(sources())
    found = {(one.file, one.module) for one in imports()}
    assert ("service/pipeline.py", "service.registry") in found
    assert ("service/decoding.py", "models.imaging") in found, "`from models import imaging` is seen as a module"
    assert Import("models/statistics.py", 0, "scipy.stats", always=False) in [
        Import(one.file, 0, one.module, one.always) for one in imports()
    ]


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("models/", {"service", "training", "loadtest", "parallax"}),
        ("service/", {"training", "loadtest", "parallax"}),
        ("training/", {"service", "loadtest", "parallax"}),
    ],
)
def test_a_room_does_not_know_those_that_it_must_not(room: str, strangers: set[str]) -> None:
    none([one for one in imports() if inside(one.file, room) and one.package in strangers])


def test_the_load_test_sees_http_only() -> None:
    outside = [one for one in imports() if inside(one.file, "loadtest/") and not inside(one.file, "loadtest/bench/")]
    none([one for one in outside if one.package in {*ROOMS, "parallax"} and not one.module.startswith("loadtest")])
    bench = [one for one in imports() if inside(one.file, "loadtest/bench/")]
    none([one for one in bench if one.package in {"training", "parallax"}])


def test_only_the_edge_of_the_service_knows_the_web_framework() -> None:
    allowed = ("service/api/", "service/app.py", "loadtest/bench/")
    none([one for one in imports() if one.package in HTTP and not inside(one.file, *allowed)])


def test_only_one_file_knows_the_server_program() -> None:
    none([one for one in imports() if one.package == "uvicorn" and not inside(one.file, "service/server.py", "loadtest/bench/")])


def test_only_training_knows_tensorflow() -> None:
    known = {"tensorflow", "keras", "tf2onnx"}
    none([one for one in imports() if one.package in known and not inside(one.file, "training/")])


def test_only_tracking_knows_mlflow_and_loads_it_when_it_tracks() -> None:
    found = [one for one in imports() if one.package in {"matplotlib", "mlflow"}]
    assert found
    none([one for one in found if one.always or not inside(one.file, "training/tracking/")])


def test_few_files_know_onnxruntime() -> None:
    allowed = ("models/runtime.py", "service/backends/devices.py", "training/quantize.py", "training/bias.py", "loadtest/bench/")
    none([one for one in imports() if one.package == "onnxruntime" and not inside(one.file, *allowed)])


def test_heavy_libraries_are_imported_where_they_are_used_and_nowhere_else() -> None:
    heavy = [one for one in imports() if one.package in HEAVY and not inside(one.file, "training/")]
    none(
        [
            one
            for one in heavy
            if one.always
            or not inside(
                one.file,
                "models/statistics.py",
                "models/one_by_one.py",
                "models/scoring/report.py",
                "service/scoring/",
                "service/cluster/",
                "service/api/scoring_rows.py",
            )
        ]
    )


def test_only_the_cluster_knows_ray_and_only_who_wants_one_knows_the_cluster() -> None:
    assert [one for one in imports() if one.package == "ray"]
    none([one for one in imports() if one.package == "ray" and not inside(one.file, "service/cluster/")])
    known = [one for one in imports() if one.module.startswith("service.cluster") and not inside(one.file, "service/cluster/")]
    none([one for one in known if one.always])


def test_only_one_folder_knows_opentelemetry_and_only_the_application_loads_it() -> None:
    found = [one for one in imports() if one.package == "opentelemetry"]
    assert found
    none([one for one in found if not inside(one.file, "service/otel/")])
    loaded = [one for one in imports() if one.module.startswith("service.otel.") and not inside(one.file, "service/otel/")]
    none([one for one in loaded if one.always or one.file != "service/app.py"])


def layer(module: str) -> int:
    """How high a module of the service stands."""
    part = module.split(".")[1]
    found = [number for number, names in enumerate(LAYERS) if part in names]
    assert found, f"service.{part} has no place in LAYERS yet: who may import it?"
    return found[0]


def test_the_service_imports_downwards_only() -> None:
    wrong = []
    for one in imports():
        if one.package == "service" and inside(one.file, "service/") and one.module != "service":
            own = "service." + one.file.removeprefix("service/").removesuffix(".py").replace("/", ".")
            if own.split(".")[1] != one.module.split(".")[1] and layer(one.module) >= layer(own):
                wrong.append(one)
    none(wrong)


@pytest.mark.parametrize("name", ["batching", "domain", "errors", "admission"])
def test_the_core_of_the_service_knows_neither_http_nor_backends(name: str) -> None:
    forbidden = ("service.api", "service.app", "service.backends", "service.registry", "service.pipeline")
    none([one for one in imports() if one.file == f"service/{name}.py" and one.module.startswith(forbidden)])


@pytest.mark.parametrize("file", ["service/errors.py", "models/errors.py"])
def test_errors_know_no_http(file: str) -> None:
    none([one for one in imports() if one.file == file and one.package != "models"])
    numbers = {node.value for node in ast.walk(sources()[file]) if isinstance(node, ast.Constant) and isinstance(node.value, int)}
    assert not [number for number in numbers if 100 <= number < 600], "a status code belongs into service/api/problems.py"


def test_only_the_factory_asks_what_kind_a_backend_is() -> None:
    kinds = {"service.backends.onnx", "service.backends.fake", "service.backends.custom_vision", "service.backends.azure_ml"}
    allowed = ("service/backends/", "service/api/custom_vision.py")
    none([one for one in imports() if one.module in kinds and not inside(one.file, *allowed)])


def test_no_file_has_grown_into_two() -> None:
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_LINES and file not in LONG_FILES} == {}
    assert all(lengths[file] > MAX_LINES for file in LONG_FILES), "an exception that is not needed any more"


@pytest.mark.parametrize("module", ["service.app", "service.server", "parallax"])
def test_a_service_starts_without_the_heavy_libraries(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert not [name for name in modules if name.startswith("opentelemetry.sdk")], "of which FastAPI loads the API alone"
    loaded = {name.split(".")[0] for name in modules}
    assert module.split(".", maxsplit=1)[0] in loaded
    assert not loaded & {*HEAVY, "psycopg", "sqlalchemy"}


def test_the_command_line_shows_its_help_without_even_the_service() -> None:
    code = "import sys, parallax; print('onnxruntime' in sys.modules, 'fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
