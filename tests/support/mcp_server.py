#!/usr/bin/python3
"""A small MCP server for tests, which misbehaves on request.  Over standard input and output; with
--http PORT behind a URL (port 0: any; it prints the address).  It shares nothing with the library."""

import http.server
import json
import os
import sys
import threading
import time
import uuid

SCHEMA = {"type": "object"}
TOOLS = [
    {"name": "echo", "description": "Says it again.",
     "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}},
                     "required": ["text"]}},
    {"name": "sum.of-two", "inputSchema": {
        "type": "object", "properties": {"a": {"type": "string", "pattern": "^[0-9]+$"}}}},
    {"name": "fail", "inputSchema": SCHEMA},
    {"name": "refuse", "inputSchema": SCHEMA},
    {"name": "slow", "inputSchema": SCHEMA},
    {"name": "die", "inputSchema": SCHEMA},
    {"name": "picture", "inputSchema": SCHEMA},
    {"name": "cancelled", "inputSchema": SCHEMA},
    {"name": "change", "inputSchema": SCHEMA},
    {"name": "noise", "inputSchema": SCHEMA},
    {"name": "environment", "inputSchema": SCHEMA},
    {"name": "x" * 100, "inputSchema": SCHEMA},
    {"inputSchema": SCHEMA},
]
cancelled = []
extra = []
asked = []


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(name, arguments, say):
    if name == "echo":
        return text(arguments["text"])
    if name == "sum.of-two":
        total = int(arguments["a"]) + int(arguments["b"])
        return text(str(total), structuredContent={"sum": total})
    if name == "fail":
        return text("it did not work", isError=True)
    if name == "slow":
        time.sleep(arguments.get("s", 60))
        return text("at last")
    if name == "die":
        os._exit(3)
    if name == "picture":
        return {"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"}]}
    if name == "cancelled":
        return text(json.dumps(cancelled))
    if name == "environment":
        return text(json.dumps([dict(os.environ), len(os.listdir("/proc/self/fd"))]))
    if name == "change":
        extra.append({"name": "new", "inputSchema": SCHEMA})
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("changed")
    if name == "new":
        return text("new indeed")
    if name == "noise":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}})
        say({"jsonrpc": "2.0", "id": 99, "method": "ping"})
        say({"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage", "params": {}})
        say({"jsonrpc": "2.0", "id": 123456, "result": {}})
        for _ in range(100):
            if len(asked) >= 2:
                break
            time.sleep(0.02)
        return text(json.dumps(sorted(asked, key=str)))
    return None


def page(cursor):
    tools = TOOLS + extra
    at = int(cursor or 0)
    result = {"tools": tools[at:at + 3]}
    if at + 3 < len(tools):
        result["nextCursor"] = str(at + 3)
    return result


def answer(message, say):
    """The response to a message, or None."""
    method, params = message.get("method"), message.get("params", {})
    if method is None:
        asked.append(message.get("error", message.get("result")))
        return None
    if "id" not in message:
        if method == "notifications/cancelled":
            cancelled.append(params["requestId"])
        return None
    response = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "initialize":
        version = os.environ.get("MCP_TEST_VERSION", params["protocolVersion"])
        response["result"] = {"protocolVersion": version, "capabilities": {"tools": {}},
                              "serverInfo": {"name": "test", "version": "1"}}
    elif method == "tools/list":
        if os.environ.get("MCP_TEST_LATE") and params.get("cursor") == "6" and not extra:
            extra.append({"name": "new", "inputSchema": SCHEMA})
            TOOLS.insert(1, {"name": "early", "inputSchema": SCHEMA})  # on a page that was read
            say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        response["result"] = page(params.get("cursor"))
    else:
        result = call(params["name"], params.get("arguments", {}), say)
        if result is None:
            response["error"] = {"code": -32602, "message": f"no tool {params['name']} here"}
        else:
            response["result"] = result
    return response


def stdio():
    lock = threading.Lock()

    def say(message):
        with lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def work(message):
        response = answer(message, say)
        if response:
            say(response)

    print("greetings, which do not belong here", flush=True)
    print("a word for the log", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        # In order, but for calls, which take their time.
        if message.get("method") == "tools/call":
            threading.Thread(target=work, args=(message,), daemon=True).start()
        else:
            work(message)
    if os.environ.get("MCP_TEST_STUBBORN"):
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sessions = set()
    deleted = []
    n_calls = 0

    def reply(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if body:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.sessions.discard(self.headers["Mcp-Session-Id"])
        self.deleted.append(self.headers["Mcp-Session-Id"])
        self.reply(200)

    def do_GET(self):  # for the test: what was deleted
        self.reply(200, json.dumps(self.deleted).encode())

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer mcp-test-token":
            self.reply(401, b'{"error": "who are you?"}')
            return
        if message.get("method") == "initialize":
            session = uuid.uuid4().hex
            self.sessions.add(session)
            self.reply(200, json.dumps(answer(message, None)).encode(), Mcp_Session_Id=session)
            return
        if (self.headers["Mcp-Session-Id"] not in self.sessions
                or self.headers["MCP-Protocol-Version"] != "2025-06-18"
                or "text/event-stream" not in self.headers["Accept"]):
            self.reply(404)
            return
        params = message.get("params", {})
        if params.get("name") == "forget-session":
            self.sessions.clear()
            self.reply(404)
        elif message.get("method") == "tools/call":
            self.stream(message)
        else:
            response = answer(message, None)
            self.reply(200 if response else 202,
                       json.dumps(response).encode() if response else b"")

    def stream(self, message):
        """In pieces, with a comment in front, and open for a while after the answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()

        def say(m):
            self.wfile.write(f": hello\nevent: message\nid: 1\ndata: {json.dumps(m)}\n\n".encode())
            self.wfile.flush()

        response = answer(message, say)
        whole = f"event: message\ndata: {json.dumps(response)}\n\n".encode()
        try:
            for piece in (whole[:9], whole[9:40], whole[40:]):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.01)
            time.sleep(message.get("params", {}).get("arguments", {}).get("linger", 0))
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    if sys.argv[1:2] == ["--http"]:
        TOOLS.append({"name": "forget-session", "inputSchema": SCHEMA})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
        print(f"http://127.0.0.1:{server.server_port}/mcp", flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        server.serve_forever()
    else:
        stdio()
