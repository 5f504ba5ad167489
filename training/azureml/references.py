"""What azure-ai-ml does not look at in a YAML file before it is sent, and what Azure would refuse minutes later.

Names in `${{...}}` that nothing defines, inputs that a component does not have or that it lacks, networks that Azure's AutoML
does not have, files that are not there.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from models.errors import UsageError
from training.backbone_names import AZURE

Document: TypeAlias = Mapping[str, Any]

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
ELSEWHERE = ("azureml:", "azureml://", "http://", "https://", "wasbs://", "abfss://")


def read(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises `UsageError`."""
    try:
        import yaml
    except ImportError as exc:  # it comes with azure-ai-ml
        from training.azureml.workspace import MISSING

        raise UsageError(MISSING) from exc
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise UsageError(f"{path} can't be read: {exc}") from exc
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no mapping")
    return document


def kind_of(document: Document) -> str:
    """What a document describes, as its `$schema` names it: pipelineJob, commandComponent, environment, ..."""
    return str(document.get("$schema", "")).rpartition("/")[2].partition(".")[0]


def problems(document: Document, folder: Path) -> list[str]:
    """Everything that is wrong with a document, a line each. Paths in it start from `folder`."""
    found = list(_files(document, folder))
    kind = kind_of(document)
    if kind == "pipelineJob":
        found += _pipeline(document, folder)
    elif kind == "commandComponent":
        found += _command(document)
    elif kind.startswith("autoML"):
        found += _networks(document)
    return found


def _pipeline(document: Document, folder: Path) -> Iterator[str]:
    jobs: Mapping[str, Document] = document.get("jobs") or {}
    parts: dict[str, Document] = {}
    for name, job in jobs.items():
        component = job.get("component")
        if isinstance(component, Mapping):
            parts[name] = component
        elif isinstance(component, str) and not component.startswith("azureml:"):
            path = folder / component.removeprefix("file:")
            if path.is_file():
                parts[name] = read(path)
                yield from (f"{name}: {path.name}: {one}" for one in problems(parts[name], path.parent))
    inputs, outputs = set(document.get("inputs") or {}), set(document.get("outputs") or {})
    known = {f"parent.inputs.{one}" for one in inputs} | {f"parent.outputs.{one}" for one in outputs}
    known |= {f"parent.jobs.{name}.outputs.{one}" for name, part in parts.items() for one in part.get("outputs") or {}}
    unseen = {name for name in jobs if name not in parts}
    used = set()
    for name, job in jobs.items():
        if name in parts:
            yield from _ends(name, job, parts[name])
        for expression in _expressions({**job, "component": None}):
            used.add(expression)
            job_meant = expression.split(".")[2] if expression.startswith("parent.jobs.") else ""
            if expression not in known and job_meant not in unseen:
                yield f"{name}: nothing defines ${{{{{expression}}}}}"
    yield from (f"input {one} is used by no job" for one in sorted(inputs) if f"parent.inputs.{one}" not in used)
    yield from (f"output {one} is written by no job" for one in sorted(outputs) if f"parent.outputs.{one}" not in used)


def _ends(name: str, job: Document, component: Document) -> Iterator[str]:
    """A job's inputs and outputs against its component's."""
    for end in ("inputs", "outputs"):
        given, has = set(job.get(end) or {}), component.get(end) or {}
        yield from (f"{name}: the component has no {end[:-1]} {one}" for one in sorted(given - set(has)))
    given = set(job.get("inputs") or {})
    for one, spec in (component.get("inputs") or {}).items():
        if one not in given and not spec.get("optional") and "default" not in spec:
            yield f"{name}: the component's input {one} is not given"


def _command(document: Document) -> Iterator[str]:
    command = str(document.get("command", ""))
    inputs: Mapping[str, Document] = document.get("inputs") or {}
    known = {f"inputs.{one}" for one in inputs} | {f"outputs.{one}" for one in document.get("outputs") or {}}
    used = set(EXPRESSION.findall(command))
    yield from (f"nothing defines ${{{{{one}}}}}" for one in sorted(used - known))
    yield from (f"{one} is not in the command" for one in sorted(known - used))
    certain = set(EXPRESSION.findall(OPTIONAL.sub("", command)))
    for one, spec in inputs.items():
        if spec.get("optional") and f"inputs.{one}" in certain:
            yield f"inputs.{one} is optional, and stands outside of $[[ ]]"


def _networks(document: Document) -> Iterator[str]:
    for space in [document.get("training_parameters") or {}, *(document.get("search_space") or [])]:
        chosen = space.get("model_name")
        names = chosen.get("values", []) if isinstance(chosen, Mapping) else [chosen] if chosen else []
        yield from (f"Azure's AutoML has no network {one}; it has {', '.join(AZURE)}" for one in names if one not in AZURE)


def _files(document: Document, folder: Path) -> Iterator[str]:
    """Local files that are not there."""
    build = document.get("environment") if isinstance(document.get("environment"), Mapping) else document
    context = (build or {}).get("build") or {}
    named = [document.get("code"), document.get("conda_file"), document.get("path"), context.get("path")]
    if context.get("path"):
        named.append(f"{context['path']}/{context.get('dockerfile_path', 'Dockerfile')}")
    datas = [*(document.get("inputs") or {}).values(), document.get("training_data"), document.get("validation_data")]
    named += [data.get("path") for data in datas if isinstance(data, Mapping)]
    for job in (document.get("jobs") or {}).values():
        component = job.get("component")
        named.append(component.removeprefix("file:") if isinstance(component, str) else None)
        named += [data.get("path") for data in (job.get("inputs") or {}).values() if isinstance(data, Mapping)]
    for one in named:
        if isinstance(one, str) and not one.startswith(ELSEWHERE) and "${{" not in one and not (folder / one).exists():
            yield f"{one} is not there"


def _expressions(value: object) -> set[str]:
    if isinstance(value, str):
        return set(EXPRESSION.findall(value))
    if isinstance(value, Mapping):
        return {found for one in value.values() for found in _expressions(one)}
    if isinstance(value, list):
        return {found for one in value for found in _expressions(one)}
    return set()
