"""A recorder in an hour: FastAPI, a file of lines for each recording.

Nothing is synced, compressed or de-duplicated.

    DATA_DIR=/somewhere uvicorn app:app --port 8000

A WebSocket gets one event a text message; after the text ``end`` it answers ``{"count":n}`` when all is
written, and closes. A POST of NDJSON answers the same.
"""
# mypy: disable-error-code="import-not-found, untyped-decorator"

import json
import os
from pathlib import Path
from uuid import UUID

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect

DIRECTORY = Path(os.environ.get("DATA_DIR", "data"))
DIRECTORY.mkdir(parents=True, exist_ok=True)

app = FastAPI()


@app.websocket("/recordings/{recording}/events/ws")
async def events_ws(socket: WebSocket, recording: UUID) -> None:
    await socket.accept()
    count = 0
    with (DIRECTORY / f"{recording}.ndjson").open("a") as file:
        try:
            while (text := await socket.receive_text()) != "end":
                json.loads(text)  # Refuses what is no JSON.
                file.write(text + "\n")
                count += 1
        except WebSocketDisconnect:
            return
    await socket.send_json({"count": count})
    await socket.close()


@app.post("/recordings/{recording}/events")
async def events_post(request: Request, recording: UUID) -> dict[str, int]:
    lines = (await request.body()).splitlines()
    for line in lines:
        json.loads(line)
    with (DIRECTORY / f"{recording}.ndjson").open("ab") as file:
        file.writelines(line + b"\n" for line in lines)
    return {"count": len(lines)}
