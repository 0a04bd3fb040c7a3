"""Files that the app uploads: a URL to send one to, the file there, and the word that it is whole."""

import json
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.web_api import Call, Method
from sandbox.workspace import BOT_USER, TEAM, Clock, Json, Refusal

LARGEST = 1_000_000  # bytes; a chart has some tens of thousands
KEPT = 1_000  # files; the oldest are forgotten


@dataclass
class File:
    """One file. `looks` is how often Slack still says, of a message with it, that it has not looked at the file yet."""

    id: str
    name: str
    length: int
    alt: str
    created: int
    ticket: str
    title: str = ""
    content: bytes = b""
    whole: bool = False
    looks: int = 0


class Files:
    """What was uploaded. It does not outlive a restart."""

    def __init__(self, *, clock: Clock, base_url: str) -> None:
        self._clock = clock
        self._base_url = base_url
        self._files: dict[str, File] = {}
        self.disabled = False
        self.looks = 0
        scope = ("files:write",)
        self.methods = {
            "files.getUploadURLExternal": Method(self._begin, scope),
            "files.completeUploadExternal": Method(self._complete, scope),
        }
        self.routes = [
            Route("/upload/{ticket}", self._receive, methods=["POST"]),
            Route("/files/{id}/{name}", self._show, methods=["GET"]),
        ]

    def placed(self, blocks: list[Json]) -> None:
        """Gives each picture of a file the address where it is seen. Refuses blocks with a file that is none, or not whole."""
        for number, block in enumerate(blocks):
            held = block.get("slack_file") if block["type"] == "image" else None
            if held is None:
                continue
            file = self._files.get(str(held.get("id")))
            looked_at = file is not None and file.whole and file.looks == 0
            if file is not None and file.looks:
                file.looks -= 1
            if file is None or not looked_at or "url" in held:
                problem = f"[ERROR] invalid slack file [json-pointer:/blocks/{number}/slack_file]"
                raise Refusal("invalid_blocks", errors=[problem], response_metadata={"messages": [problem]})
            held["url"] = self._address(file)

    def _address(self, file: File) -> str:
        return f"{self._base_url}/files/{file.id}/{file.name}"

    def _begin(self, call: Call) -> Json:
        if self.disabled:
            raise Refusal("file_uploads_disabled")
        name = call.text("filename", "missing_argument").replace("/", "_")
        length = int(call.text("length", "missing_argument"))
        if not 0 < length <= LARGEST:
            raise Refusal("file_upload_size_restricted")
        id, ticket = f"F{secrets.token_hex(5).upper()}", secrets.token_urlsafe(16)
        created = int(self._clock())
        self._files[id] = File(id, name, length, call.text("alt_txt"), created, ticket, looks=self.looks)
        while len(self._files) > KEPT:
            del self._files[next(iter(self._files))]
        return {"upload_url": f"{self._base_url}/upload/{ticket}", "file_id": id}

    async def _receive(self, request: Request) -> Response:
        ticket = request.path_params["ticket"]
        file = next((file for file in self._files.values() if secrets.compare_digest(file.ticket, ticket)), None)
        if file is None:
            return PlainTextResponse("no such upload", 404)
        content = b""
        async for piece in request.stream():
            content += piece
            if len(content) > file.length:
                return PlainTextResponse("longer than was said", 400)
        if len(content) != file.length:
            return PlainTextResponse("shorter than was said", 400)
        file.content = content
        return PlainTextResponse(f"OK - {file.length}")

    def _complete(self, call: Call) -> Json:
        told = call.args.get("files")
        wanted = json.loads(told) if isinstance(told, str) else told
        if not isinstance(wanted, list) or not wanted:
            raise Refusal("invalid_arguments")
        done = []
        for one in wanted:
            file = self._files.get(str(one.get("id")))
            if file is None or not file.content:
                raise Refusal("file_not_found")
            file.whole, file.title = True, str(one.get("title") or file.name)
            done.append(self._as_file(file))
        return {"files": done}

    def _as_file(self, file: File) -> Json:
        return {
            "id": file.id,
            "created": file.created,
            "name": file.name,
            "title": file.title,
            "mimetype": "image/png",
            "filetype": "png",
            "user": BOT_USER,
            "user_team": TEAM,
            "size": file.length,
            "is_public": False,
            "alt_txt": file.alt,
            "url_private": self._address(file),
        }

    async def _show(self, request: Request) -> Response:
        file = self._files.get(request.path_params["id"])
        if file is None or not file.whole:
            return PlainTextResponse("no such file", 404)
        return Response(file.content, media_type="image/png", headers={"x-content-type-options": "nosniff"})
