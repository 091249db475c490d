// The model server of the benchmarks over HTTP/2 and TLS: answers every completion after a delay.
// bench/lib/servers.py starts it, with the same ways to ask and to set as model_server.c.
//
//     node model_server_h2.mjs PORT KEY CERTIFICATE
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [port, key, cert] = process.argv.slice(2);
const completion = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 1700000000,
  model: "bench",
  choices: [{
    index: 0,
    message: {
      role: "assistant",
      content: "Silent loops at night, a pointer finds its way home, no warnings remain.",
    },
    finish_reason: "stop",
  }],
  usage: { prompt_tokens: 45, completion_tokens: 18, total_tokens: 63 },
});
const json = { "content-type": "application/json" };
let delay = 0, stats;

function reset() {
  stats = { requests: 0, answers: 0, dropped: 0, open: 0, most_open: 0, connections: 0 };
}
reset();

function complete(request, response) {
  stats.requests++;
  stats.most_open = Math.max(stats.most_open, ++stats.open);
  request.on("end", () => setTimeout(() => {
    stats.answers++;
    response.writeHead(200, json);
    response.end(completion);
  }, delay));
  response.on("close", () => {
    stats.open--;
    stats.dropped += response.writableFinished ? 0 : 1;
  });
  request.resume();
}

const server = createSecureServer(
  { key: readFileSync(key), cert: readFileSync(cert), allowHTTP1: true },
  (request, response) => {
    const [, what, value] = request.url.split("/");
    if (what === "v1") return complete(request, response);
    if (what === "delay") delay = Number(value);
    if (what === "reset") reset();
    response.writeHead(200, json);
    response.end(JSON.stringify(stats));
  });
server.on("session", () => stats.connections++);
server.listen(Number(port), "127.0.0.1", 1024);
