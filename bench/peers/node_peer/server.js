// A recorder in an hour: Node with ws, a file of lines for each recording. Nothing is synced, compressed or
// de-duplicated.
//
//   DATA_DIR=/somewhere PORT=8000 node server.js
//
// A WebSocket gets one event a text message; after the text "end" it answers {"count":n} when all is written, and
// closes. A POST of NDJSON answers the same.
import { createWriteStream, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';

const directory = process.env.DATA_DIR ?? 'data';
mkdirSync(directory, { recursive: true });

const PATH = /^\/recordings\/([0-9a-f-]{36})\/events(\/ws)?$/;

const fileOf = (recording) => createWriteStream(join(directory, `${recording}.ndjson`), { flags: 'a' });

const server = createServer(async (request, response) => {
  const match = PATH.exec(request.url);
  if (!match || match[2] || request.method !== 'POST') {
    response.writeHead(404).end();
    return;
  }
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const lines = Buffer.concat(chunks).toString().split('\n').filter(Boolean);
    for (const line of lines) JSON.parse(line);
    fileOf(match[1]).end(lines.join('\n') + '\n', () => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ count: lines.length }));
    });
  } catch {
    response.writeHead(400).end();
  }
});

const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  const match = PATH.exec(request.url);
  if (!match?.[2]) {
    socket.destroy();
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => record(ws, match[1]));
});

function record(ws, recording) {
  const file = fileOf(recording);
  let count = 0;
  file.on('drain', () => ws.resume());
  ws.on('message', (data) => {
    const text = data.toString();
    if (text === 'end') {
      file.end(() => {
        ws.send(JSON.stringify({ count }));
        ws.close();
      });
      return;
    }
    try {
      JSON.parse(text); // Refuses what is no JSON.
    } catch {
      ws.close(1007);
      return;
    }
    count += 1;
    if (!file.write(text + '\n')) ws.pause();
  });
  ws.on('close', () => file.end());
}

server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
