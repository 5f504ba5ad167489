"""`parallax models pull`: a model out of MLflow's registry becomes a version of the store, if it is what Parallax put there.

Nothing of what MLflow packed around it is loaded or run: only the files that the card vouches for are looked at.
"""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from models.errors import BrokenModel, UnknownModel, UsageError
from models.metadata import CARD_FILE, ModelCard
from models.repository import Repository, StoredModel
from models.soundness import check
from models.workspace import data_dir
from training.progress import console
from training.tracking.registry import CARD_TEXT, INSIDE
from training.tracking.server import connect, error_code, mapped, shown, tracking_uri

ADDRESS = re.compile(r"models:/[^/@]+(/[^/]+|@[^/]+)|runs:/[^/]+/.+")
MAX_TEXT_BYTES = 1_000_000


def pull(address: str, store: Repository, *, name: str | None = None) -> StoredModel:
    """Fetch `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/RUN/PATH` and add it to the store, as the next version.

    A version of the store that has the very same files is returned as it is. `name`: instead of the model's own. Raises
    `TrackingError`, `UnknownModel`; `UsageError` for what Parallax did not register, or for labels that are not those of the
    name; `BrokenModel` or `GoldenMismatch` for files that are not what the card says.
    """
    if not ADDRESS.fullmatch(address):
        raise UsageError(f"{address}: say models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest or runs:/RUN/PATH")
    data_dir().mkdir(parents=True, exist_ok=True)
    # Where one file can't be fetched, MLflow may still be writing others when the folder is removed.
    with TemporaryDirectory(prefix="pull-", dir=data_dir(), ignore_cleanup_errors=True) as folder:
        found = _download(address, Path(folder)) / INSIDE
        card = _card(address, found)
        if name is not None:
            card = card.model_copy(update={"name": name})
        store.check_labels(card.name, card.labels)
        if (same := _same(store, card)) is not None:
            return _learn(store, same, card)
        return _take(card, found, store)


def _download(address: str, folder: Path) -> Path:
    connect()
    where = shown(tracking_uri())
    with mapped(f"{address} can't be fetched from {where}"):
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(download_artifacts(artifact_uri=address, dst_path=str(folder)))
        except MlflowException as exc:
            unknown = {"RESOURCE_DOES_NOT_EXIST"} | ({"INVALID_PARAMETER_VALUE"} if "@" in address else set())
            if error_code(exc) not in unknown:  # the second is what MLflow says of an alias
                raise
            raise UnknownModel(
                f"there is no {address} at {where}: {exc.message} (MLFLOW_TRACKING_URI names another server)"
            ) from exc


def _card(address: str, folder: Path) -> ModelCard:
    """The card of what was fetched. Its version is the one that it had where it was registered."""
    _plain(folder)
    path = folder / CARD_FILE
    if not path.exists():
        raise UsageError(
            f"{address} was not registered by Parallax: it has no {INSIDE}/{CARD_FILE}. If it holds an ONNX file, fetch and "
            f"import that: mlflow artifacts download --artifact-uri {address} --dst-path FOLDER && "
            "parallax models import FOLDER/model.onnx --labels ... --preprocess ..."
        )
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as exc:
        raise BrokenModel(f"{INSIDE}/{CARD_FILE} of {address} can't be read: {exc}") from exc


def _plain(folder: Path) -> None:
    """Refuse links, by which an artifact store on this machine could lead anywhere. MLflow's own does not follow them either."""
    for path in (folder, *folder.glob("*")):
        if path.is_symlink():
            raise BrokenModel(f"{path.name} is a link, and no file that Parallax registered")


def _same(store: Repository, card: ModelCard) -> StoredModel | None:
    files = {(file.file, file.sha256) for file in card.files}
    known = [one for one in store.scan().models if one.card.name == card.name]
    return next((one for one in known if {(file.file, file.sha256) for file in one.card.files} == files), None)


def _learn(store: Repository, known: StoredModel, card: ModelCard) -> StoredModel:
    """Of a model that is here, take what test sets have said of it elsewhere."""
    tests = {test.data.sha256: test for test in known.card.tests}
    news = []
    for test in card.tests:
        ours = tests.get(test.data.sha256)
        if ours is None or test.accuracy.keys() - ours.accuracy.keys():
            news.append(test.data.name)
            tests[test.data.sha256] = ours.model_copy(update={"accuracy": test.accuracy | ours.accuracy}) if ours else test
    about = f"{card.name}/{known.card.version} is that very model"
    if not news:
        console.print(about, highlight=False)
        return known
    store.update(known.card.tested(sorted(tests.values(), key=lambda test: test.evaluated)))
    console.print(f"{about}; of its tests came: {', '.join(news)}", highlight=False)
    return store.get(card.name, known.card.version)


def _take(card: ModelCard, found: Path, store: Repository) -> StoredModel:
    """Copy what the card names, check it where no reader sees it, and add it."""
    folder = store.workspace()
    try:
        for file in card.files:
            try:
                shutil.copyfile(found / file.file, folder / file.file)
            except OSError as exc:
                raise BrokenModel(f"{file.file}, which the card of {card.name} names, was not fetched: {exc.strerror}") from exc
        text = found / CARD_TEXT
        if text.exists() and text.stat().st_size <= MAX_TEXT_BYTES:
            shutil.copyfile(text, folder / CARD_TEXT)
        check(StoredModel(card, folder))
        return store.add(card, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
