"""Just enough of the prediction contract to score a published iteration, for tests of the commands."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.custom_vision.script import Script, gateway, refusal
from tests.support.custom_vision.state import PREDICTION_KEY, Account, new_id, now
from tests.support.custom_vision.training import part_of


def one_route(account: Account, script: Script) -> Route:
    """Bytes as the SDK sends them, with no store."""

    async def classify(request: Request) -> Response:
        if (stop := script.interferes(request)) is not None:
            return stop
        if request.headers.get("prediction-key") != PREDICTION_KEY:
            return gateway(401, "Access denied due to invalid subscription key or wrong API endpoint.")
        project = account.projects.get(request.path_params["project"])
        if project is None:
            return refusal(404, "NotFoundProject", "Invalid project")
        found = next((one for one in project.iterations if one.publish_name == request.path_params["name"]), None)
        if found is None or found.classifier is None:
            return refusal(404, "NotFoundIteration", "Invalid iteration")
        scores = found.classifier(part_of(await request.body(), request.headers["content-type"]))
        names = {tag.id: tag.name for tag in project.tags}
        rows = [
            {"probability": score, "tagId": tag, "tagName": names[tag], "tagType": "Regular"}
            for score, tag in sorted(zip(scores, found.tags, strict=True), reverse=True)
        ]
        body = {"id": new_id(), "project": project.id, "iteration": found.id, "created": now(), "predictions": rows}
        return JSONResponse(body)

    path = "/customvision/v3.1/prediction/{project}/classify/iterations/{name}/image/nostore"
    return Route(path, classify, methods=["POST"])
