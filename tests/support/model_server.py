#!/usr/bin/env python3
"""A model server of our own: OpenAI Chat Completions and Anthropic Messages, good and bad answers.

Started by tests/support/servers.py and by developers by hand:

    tests/support/model_server.py --port 9100
    curl -X PUT localhost:9100/control -d '{"latency_ms": 500, "times": 3}'

It is as strict towards its clients as the real providers are (keys, versions, mandatory fields),
remembers every request so that a checker can count calls, and misbehaves on request.  It answers
the same request with the same text and the same token counts every time.  It must never know
anything of the product it tests: all it sees is HTTP.

For long runs `--remember N` bounds the log in memory, and `--calls FILE --marker REGEX` writes one
JSON line for each call at its end: when it came and went, what the expression found in it, and how
it ended.

    POST /v1/chat/completions   OpenAI, plain or `"stream": true`
    POST /v1/messages           Anthropic, plain or `"stream": true`
    GET  /v1/models             a short list
    PUT  /control               replace all rules by one rule (object) or several (array)
    POST /control               put one rule in front of the others
    GET  /control               the rules with how often each has still to apply
    DELETE /control             forget all rules and the log
    GET  /control/log           ?after=SEQ&limit=N&contains=TEXT&count=1
    DELETE /control/log         forget the log

A rule is an object; every member may be left out:

    when it applies   protocol ("openai" | "anthropic"), model (equal), contains (in the messages),
                      last (the last message's role: "user", "tool"), times (only for the next N
                      requests that match)
    how it answers    latency_ms, status, headers {}, error {type, code, message}, body (sent as
                      it stands), text (the answer), echo, empty, no_choices, no_usage, malformed,
                      html, finish (stop | length | content_filter | tool_calls), tokens (completion
                      tokens), drip_ms (a pause between pieces of the body), hang, disconnect
                      ("before" | "mid"), stream_error (an error inside the stream), stall (the
                      stream stands still in its middle), no_end (a stream without its end mark),
                      split (a stream in pieces of this many bytes), tool_calls (a list of {name,
                      arguments}, arguments an object or a text), reasoning (what the model thinks
                      aloud)

The first rule that applies decides.  A prompt can carry a rule of its own, which wins over all:
[[slow 2000]] [[error 429]] [[error 503 first 2]] [[echo]] [[empty]] [[malformed]] [[hang]]
[[drip 50]] [[disconnect]] [[tokens 7]], where `first N` means the first N times this very prompt
is seen.  So can a model name: slow-2000, error-429, drip-50, echo, empty, malformed, hang,
disconnect, joined by `+` if need be, after an optional `anything:`.
"""

import argparse
import asyncio
import collections
import hashlib
import json
import re
import signal
import socket
import time
import urllib.parse

REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
           409: "Conflict", 413: "Payload Too Large", 429: "Too Many Requests",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
           504: "Gateway Timeout", 529: "Overloaded"}
OPENAI_ERRORS = {400: "invalid_request_error", 401: "invalid_request_error",
                 403: "permission_error", 404: "invalid_request_error", 429: "requests"}
ANTHROPIC_ERRORS = {400: "invalid_request_error", 401: "authentication_error",
                    403: "permission_error", 404: "not_found_error", 413: "request_too_large",
                    429: "rate_limit_error", 529: "overloaded_error"}
ANTHROPIC_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
                   "content_filter": "refusal"}
KEY_HEADERS = ("authorization", "x-api-key")
DIRECTIVE = re.compile(r"\[\[(\w+)(?: (\d+))?(?: first (\d+))?\]\]")
NAME_PART = re.compile(r"^(\w+?)(?:-(\d+))?$")
REASONING_MODEL = re.compile(r"^(o\d|gpt-5)")
OUTCOMES = {"answered": "ok", "refused": "error", "disconnected": "disconnect"}  # in --calls
WORDS = ("slow", "error", "echo", "empty", "malformed", "hang", "drip", "disconnect", "tokens",
         "html")


def count_tokens(text):
    """Four bytes a token, rounded up: wrong for every real model, but the same every time."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def text_of(content):
    """The text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return ""


def rule_of_words(words):
    """Turns (word, number) pairs, from a prompt or a model name, into a rule."""
    rule = {}
    for word, number in words:
        if word == "slow":
            rule["latency_ms"] = int(number or 1000)
        elif word == "error":
            rule["status"] = int(number or 500)
        elif word == "drip":
            rule["drip_ms"] = int(number or 50)
        elif word == "tokens":
            rule["tokens"] = int(number or 1)
        elif word == "disconnect":
            rule["disconnect"] = "mid"
        else:
            rule[word] = True
    return rule


class Call:
    """One request for a model's answer: what was asked, and how it is to be answered."""

    def __init__(self, protocol, body):
        self.protocol = protocol
        self.model = body.get("model") if isinstance(body.get("model"), str) else ""
        self.stream = body.get("stream") is True
        self.body = body
        messages = body.get("messages") if isinstance(body.get("messages"), list) else []
        messages = [m for m in messages if isinstance(m, dict)]
        by_role = {"system": [], "user": []}
        for message in messages:
            role = "system" if message.get("role") == "developer" else message.get("role")
            by_role.setdefault(role, []).append(text_of(message.get("content")))
        if protocol == "anthropic" and "system" in body:
            by_role["system"].append(text_of(body["system"]))
        self.system = "\n".join(by_role["system"])
        self.last = messages[-1].get("role") if messages else None
        # answers of tools are turns of the user with Anthropic, and have no text
        self.user = next((text for text in reversed(by_role["user"]) if text), "")
        self.prompt_tokens = count_tokens("".join("".join(texts) for texts in by_role.values()))

    def text(self, rule):
        if "text" in rule:
            return rule["text"]
        if "tool_calls" in rule:
            return ""
        if rule.get("empty"):
            return ""
        if rule.get("echo"):
            return f"system: {self.system}\nuser: {self.user}"
        digest = hashlib.sha256(self.user.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"answer {digest} to: {self.user[:60]}"


def check_openai(headers, body):
    """The (status, message, code) OpenAI would refuse this request with, or None."""
    if not re.match(r"^Bearer \S+$", headers.get("authorization", "")):
        return 401, "You didn't provide an API key.", "invalid_api_key"
    if not isinstance(body.get("model"), str) or not body["model"]:
        return 400, "you must provide a model parameter", "missing_required_parameter"
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        return 400, "Missing required parameter: 'messages'.", "missing_required_parameter"
    for message in body["messages"]:
        if not isinstance(message, dict) or message.get("role") not in (
                "system", "developer", "user", "assistant", "tool"):
            return 400, "Invalid value for 'messages[].role'.", "invalid_value"
    if not 0 <= body.get("temperature", 0) <= 2:
        return 400, "Invalid 'temperature'.", "decimal_above_max_value"
    if "max_tokens" in body and REASONING_MODEL.match(body["model"]):
        return 400, ("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                     "'max_completion_tokens' instead."), "unsupported_parameter"
    return None


def check_anthropic(headers, body):
    """The (status, message, code) Anthropic would refuse this request with, or None."""
    if not headers.get("x-api-key"):
        return 401, "x-api-key header is required", None
    if headers.get("anthropic-version") != "2023-06-01":
        return 400, "anthropic-version: header is required", None
    if not isinstance(body.get("model"), str) or not body["model"]:
        return 400, "model: Field required", None
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        return 400, "max_tokens: Field required", None
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        return 400, "messages: at least one message is required", None
    for message in body["messages"]:
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            return 400, "messages: Unexpected role", None
    if not 0 <= body.get("temperature", 0) <= 1:
        return 400, "temperature: range: 0..1", None
    return None


def error_body(protocol, status, message, code=None, kind=None, request_id=""):
    if protocol == "anthropic":
        kind = kind or ANTHROPIC_ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message},
                "request_id": request_id}
    kind = kind or OPENAI_ERRORS.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# -- answers ---------------------------------------------------------------------------------


def tool_calls(rule, number):
    """The calls of a rule: (id, name, arguments as the model would write them)."""
    for index, call in enumerate(rule.get("tool_calls", [])):
        arguments = call.get("arguments", {})
        yield (f"call_{number:08d}_{index}", call["name"],
               arguments if isinstance(arguments, str) else json.dumps(arguments))


def stop_of(rule):
    return rule.get("finish", "tool_calls" if "tool_calls" in rule else "stop")


def openai_usage(call, tokens):
    return {"prompt_tokens": call.prompt_tokens, "completion_tokens": tokens,
            "total_tokens": call.prompt_tokens + tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}}


def openai_answer(call, rule, number, text, tokens):
    answer = {"id": f"chatcmpl-{number:08d}", "object": "chat.completion",
              "created": int(time.time()), "model": call.model, "system_fingerprint": "fp_test",
              "choices": [{"index": 0, "logprobs": None,
                           "message": {"role": "assistant", "content": text, "refusal": None},
                           "finish_reason": stop_of(rule)}]}
    message = answer["choices"][0]["message"]
    if "reasoning" in rule:
        message["reasoning_content"] = rule["reasoning"]
    if "tool_calls" in rule:
        message["tool_calls"] = [
            {"id": made, "type": "function", "function": {"name": name, "arguments": arguments}}
            for made, name, arguments in tool_calls(rule, number)]
    if rule.get("no_choices"):
        answer["choices"] = []
    if not rule.get("no_usage"):
        answer["usage"] = openai_usage(call, tokens)
    return answer


def anthropic_answer(call, rule, number, text, tokens):
    answer = {"id": f"msg_{number:08d}", "type": "message", "role": "assistant",
              "model": call.model, "content": [{"type": "text", "text": text}] if text else [],
              "stop_reason": ANTHROPIC_STOPS[stop_of(rule)], "stop_sequence": None}
    if "reasoning" in rule:
        answer["content"].insert(0, {"type": "thinking", "thinking": rule["reasoning"],
                                     "signature": "sig"})
    for made, name, arguments in tool_calls(rule, number):
        answer["content"].append({"type": "tool_use", "id": made, "name": name,
                                  "input": json.loads(arguments)})
    if rule.get("no_choices"):
        answer["content"] = []
    if not rule.get("no_usage"):
        answer["usage"] = {"input_tokens": call.prompt_tokens, "cache_creation_input_tokens": 0,
                           "cache_read_input_tokens": 0, "output_tokens": tokens}
    return answer


def pieces(text):
    """A text cut into words with the space behind them, as a model streams it."""
    return re.findall(r"\S+\s*|\s+", text)


def fragments(arguments):
    """The text of arguments in pieces of five characters."""
    return [arguments[at : at + 5] for at in range(0, len(arguments), 5)]


def event(data, name=None):
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def openai_stream(call, rule, number, text, tokens):
    base = {"id": f"chatcmpl-{number:08d}", "object": "chat.completion.chunk",
            "created": int(time.time()), "model": call.model, "system_fingerprint": "fp_test"}

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**base, "choices": [choice]})
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(rule.get("reasoning", "")):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(text):
        yield chunk({"content": piece})
        if rule.get("stream_error"):
            yield event(error_body("openai", 500, "The server had an error"))
            return
    for index, (made, name, arguments) in enumerate(tool_calls(rule, number)):
        yield chunk({"tool_calls": [{"index": index, "id": made, "type": "function",
                                     "function": {"name": name, "arguments": ""}}]})
        for piece in fragments(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, stop_of(rule))
    options = call.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") and not rule.get("no_usage"):
        yield event({**base, "choices": [], "usage": openai_usage(call, tokens)})
    if not rule.get("no_end"):
        yield event("[DONE]")


def anthropic_stream(call, rule, number, text, tokens):
    def named(name, **members):
        return event({"type": name, **members}, name)
    message = {**anthropic_answer(call, rule, number, "", 1), "content": [], "stop_reason": None}
    index = 0
    yield named("message_start", message=message)
    if "reasoning" in rule:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        yield named("content_block_start", index=0, content_block=block)
        for piece in pieces(rule["reasoning"]):
            delta = {"type": "thinking_delta", "thinking": piece}
            yield named("content_block_delta", index=0, delta=delta)
        yield named("content_block_delta", index=0,
                    delta={"type": "signature_delta", "signature": "sig"})
        yield named("content_block_stop", index=0)
        index = 1
    if text or "tool_calls" not in rule:
        yield named("content_block_start", index=index, content_block={"type": "text", "text": ""})
        yield named("ping")
        for piece in pieces(text):
            delta = {"type": "text_delta", "text": piece}
            yield named("content_block_delta", index=index, delta=delta)
            if rule.get("stream_error"):
                yield named("error", error={"type": "overloaded_error", "message": "Overloaded"})
                return
        yield named("content_block_stop", index=index)
        index += 1
    for index, (made, name, arguments) in enumerate(tool_calls(rule, number), index):
        block = {"type": "tool_use", "id": made, "name": name, "input": {}}
        yield named("content_block_start", index=index, content_block=block)
        for piece in fragments(arguments):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield named("content_block_delta", index=index, delta=delta)
        yield named("content_block_stop", index=index)
    stop = {"stop_reason": ANTHROPIC_STOPS[stop_of(rule)], "stop_sequence": None}
    yield named("message_delta", delta=stop, usage={"output_tokens": tokens})
    if not rule.get("no_end"):
        yield named("message_stop")


# -- the state -------------------------------------------------------------------------------


class Models:
    """The rules, the log, and what decides how a call is answered."""

    def __init__(self, remember=None, calls=None, marker=None):
        self.rules = []
        self.log = collections.deque(maxlen=remember)
        self.recorded = 0
        self.calls = open(calls, "a", encoding="utf-8", buffering=1) if calls else None
        self.marker = re.compile(marker or r"\S+")
        self.seen = {}
        self.open = 0
        self.most_open = 0

    def reset(self):
        self.rules = []
        self.seen = {}
        self.forget()

    def forget(self):
        self.log.clear()
        self.recorded = 0
        self.most_open = self.open

    def record(self, method, path, headers, raw, call):
        entry = {"time": time.time(), "method": method, "path": path, "headers": headers,
                 "raw": raw, "call": call, "outcome": "open", "status": None, "ended": None}
        self.log.append(entry)
        self.recorded += 1
        entry["seq"] = self.recorded
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return entry

    def close(self, entry, outcome, status=None):
        if entry["outcome"] == "open":
            self.open -= 1
            entry.update(outcome=outcome, status=status, ended=time.time())
            self.write_down(entry)

    def write_down(self, entry):
        """The call as a line of the file, if there is one."""
        if self.calls:
            found = self.marker.search(entry["call"].user)
            line = {"t0": round(entry["time"], 4), "t1": round(entry["ended"], 4),
                    "marker": found.group(0) if found else None, "status": entry["status"],
                    "outcome": OUTCOMES.get(entry["outcome"], entry["outcome"]),
                    "answer": entry.get("answer")}
            self.calls.write(json.dumps(line) + "\n")

    def decide(self, call):
        """The rule that answers a call."""
        rule = {}
        for candidate in self.rules:
            if self.applies(candidate, call):
                rule = dict(candidate)
                if "times" in candidate:
                    candidate["times"] -= 1
                break
        parts = [NAME_PART.match(part) for part in call.model.rsplit(":", 1)[-1].split("+")]
        if all(part and part.group(1) in WORDS for part in parts):
            rule.update(rule_of_words(part.groups() for part in parts))
        if "[[" in call.user:
            rule.update(rule_of_words(self.directives(call.user)))
        return rule

    def directives(self, user):
        count = self.seen[user] = self.seen.get(user, 0) + 1
        for word, number, first in DIRECTIVE.findall(user):
            if word in WORDS and (not first or count <= int(first)):
                yield word, number

    @staticmethod
    def applies(rule, call):
        return (rule.get("times", 1) > 0
                and rule.get("protocol", call.protocol) == call.protocol
                and rule.get("model", call.model) == call.model
                and rule.get("last", call.last) == call.last
                and ("contains" not in rule or rule["contains"] in call.user
                     or rule["contains"] in call.system))

    def log_page(self, query):
        def number(name, default):
            return int(query.get(name, [default])[0])
        after, limit = number("after", 0), number("limit", 1000)
        contains = query.get("contains", [None])[0]
        found = (e for e in self.log if e["seq"] > after and (
            contains is None or contains in e["call"].user or contains in e["call"].system))
        if "count" in query:
            return {"count": sum(1 for _ in found), "total": self.recorded, "open": self.open,
                    "most_open": self.most_open}
        page = [self.show(entry) for _, entry in zip(range(limit), found)]
        return {"total": self.recorded, "open": self.open, "most_open": self.most_open,
                "next": page[-1]["seq"] if page else after, "requests": page}

    @staticmethod
    def show(entry):
        headers = {name: {"present": True, "sha256": hashlib.sha256(value.encode()).hexdigest()}
                   if name in KEY_HEADERS else value
                   for name, value in entry["headers"].items()}
        call = entry["call"]
        shown = {name: entry[name] for name in ("seq", "time", "ended", "method", "path",
                                                "outcome", "status")}
        return {**shown, "headers": headers, "body": call.body, "protocol": call.protocol,
                "model": call.model, "system": call.system, "user": call.user}


# -- HTTP ------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One keep-alive connection.  Requests that arrive while one is being answered wait in the
    buffer, so pipelining clients get their answers in order."""

    def __init__(self, models):
        self.models = models
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.continued = False
        self.entry = None
        self.timer = None
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, _):
        if self.timer:
            self.timer.cancel()
        if self.entry:
            self.models.close(self.entry, "client_closed")
            self.entry = None

    def data_received(self, data):
        self.buffer += data
        self.read_requests()

    def read_requests(self):
        while self.entry is None and not self.transport.is_closing():
            request = self.take_request()
            if request is None:
                return
            self.handle(*request)

    def take_request(self):
        """Cuts one whole request off the buffer: (method, target, headers, body), or None."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, _ = lines[0].split(" ")
            headers = {}
            for line in lines[1:]:
                name, value = line.split(":", 1)
                headers[name.strip().lower()] = value.strip()
            body, used = self.take_body(headers, end + 4)
        except ValueError:
            self.answer(400, {"error": {"message": "not HTTP"}}, close=True)
            return None
        if body is None:
            if headers.get("expect", "").lower() == "100-continue" and not self.continued:
                self.continued = True
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self.continued = False
        self.buffer = self.buffer[used:]
        return method, target, headers, body

    def take_body(self, headers, start):
        if headers.get("transfer-encoding", "").lower() != "chunked":
            end = start + int(headers.get("content-length", 0))
            return (self.buffer[start:end], end) if len(self.buffer) >= end else (None, 0)
        body = b""
        while True:
            line = self.buffer.find(b"\r\n", start)
            if line < 0:
                return None, 0
            size = int(self.buffer[start:line].split(b";")[0], 16)
            start = line + 2
            if len(self.buffer) < start + size + 2:
                return None, 0
            body += self.buffer[start : start + size]
            start += size + 2
            if size == 0:
                return body, start

    def answer(self, status, body, headers=None, close=False, kind="application/json"):
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
                f"Content-Type: {kind}", f"Content-Length: {len(payload)}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if close:
            head.append("Connection: close")
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + payload)
        if close:
            self.transport.close()

    def handle(self, method, target, headers, body):
        path, _, query = target.partition("?")
        if path in ("/v1/chat/completions", "/v1/messages"):
            if method != "POST":
                self.answer(405, {"error": {"message": "method"}}, {"Allow": "POST"})
                return
            self.model_call("openai" if path.endswith("completions") else "anthropic", path,
                            headers, body)
        elif path.startswith("/control"):
            self.control(method, path, urllib.parse.parse_qs(query), body)
        elif path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": "test", "object": "model"}]})
        else:
            self.answer(404, {"error": {"message": f"no {path} here"}})

    # -- control ----------------------------------------------------------------------------

    def control(self, method, path, query, body):
        models = self.models
        try:
            if path == "/control/log" and method == "GET":
                self.answer(200, models.log_page(query))
            elif path == "/control/log" and method == "DELETE":
                models.forget()
                self.answer(200, {})
            elif path == "/control" and method in ("PUT", "POST"):
                rules = json.loads(body)
                rules = rules if isinstance(rules, list) else [rules]
                models.rules = rules + (models.rules if method == "POST" else [])
                self.answer(200, models.rules)
            elif path == "/control" and method == "DELETE":
                models.reset()
                self.answer(200, {})
            elif path == "/control" and method == "GET":
                self.answer(200, models.rules)
            else:
                self.answer(404, {"error": {"message": "no such control"}})
        except ValueError as error:
            self.answer(400, {"error": {"message": str(error)}})

    # -- model calls ------------------------------------------------------------------------

    def model_call(self, protocol, path, headers, raw):
        try:
            body = json.loads(raw)
            problem = None if isinstance(body, dict) else (400, "not an object", None)
        except ValueError:
            body, problem = {}, (400, "We could not parse the JSON body of your request.", None)
        call = Call(protocol, body if isinstance(body, dict) else {})
        self.entry = self.models.record("POST", path, headers, raw, call)
        if problem is None:
            check = check_openai if protocol == "openai" else check_anthropic
            try:
                problem = check(headers, body)
            except TypeError as error:
                problem = 400, f"wrong type: {error}", None
        rule = {} if problem else self.models.decide(call)
        if rule.get("latency_ms"):
            self.timer = self.loop.call_later(rule["latency_ms"] / 1000, self.respond_later, call,
                                              rule)
        else:
            self.respond(call, rule, problem)

    def respond_later(self, call, rule):
        self.timer = None
        self.respond(call, rule, None)
        self.read_requests()

    def finish(self, outcome, status):
        entry, self.entry = self.entry, None
        self.models.close(entry, outcome, status)

    def respond(self, call, rule, problem):
        if rule.get("hang"):
            return
        if rule.get("disconnect") == "before":
            self.finish("disconnected", None)
            self.transport.abort()
            return
        number = self.entry["seq"]
        headers = self.answer_headers(call, number)
        if problem or rule.get("status", 200) != 200:
            self.refuse(call, rule, problem, headers, number)
            return
        text = call.text(rule)
        if rule.get("numbered"):
            text += f" #{number}"
        self.entry["answer"] = text
        tokens = rule.get("tokens", count_tokens(text))
        if call.stream and not {"body", "malformed", "html"} & rule.keys():
            make = openai_stream if call.protocol == "openai" else anthropic_stream
            self.send_stream(make(call, rule, number, text, tokens), rule, headers)
        else:
            self.send_plain(call, rule, headers, text, tokens, number)

    @staticmethod
    def answer_headers(call, number):
        if call.protocol == "anthropic":
            return {"request-id": f"req_{number:08d}",
                    "anthropic-ratelimit-requests-limit": "4000",
                    "anthropic-ratelimit-requests-remaining": "3999",
                    "anthropic-ratelimit-requests-reset": "2030-01-01T00:00:00Z"}
        return {"x-request-id": f"req_{number:08d}", "openai-processing-ms": "1",
                "x-ratelimit-limit-requests": "10000", "x-ratelimit-remaining-requests": "9999",
                "x-ratelimit-reset-requests": "6ms", "x-ratelimit-limit-tokens": "1000000",
                "x-ratelimit-remaining-tokens": "999990", "x-ratelimit-reset-tokens": "6m0s"}

    def refuse(self, call, rule, problem, headers, number):
        status, message, code = problem or (rule["status"], "told to refuse", None)
        error = rule.get("error", {})
        body = error_body(call.protocol, status, error.get("message", message),
                          error.get("code", code), error.get("type"), f"req_{number:08d}")
        if "body" in rule:
            body = rule["body"].encode() if isinstance(rule["body"], str) else rule["body"]
        self.answer(status, body, {**headers, **rule.get("headers", {})})
        self.finish("refused", status)

    def send_plain(self, call, rule, headers, text, tokens, number):
        make = openai_answer if call.protocol == "openai" else anthropic_answer
        kind = "application/json"
        payload = json.dumps(make(call, rule, number, text, tokens)).encode()
        if "body" in rule:
            body = rule["body"]
            payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        elif rule.get("malformed"):
            payload = payload[: len(payload) * 2 // 3]
        elif rule.get("html"):
            payload, kind = b"<html><body>502 Bad Gateway</body></html>", "text/html"
        headers = {**headers, **rule.get("headers", {})}
        if not rule.get("drip_ms") and not rule.get("disconnect"):
            self.answer(200, payload, headers, kind=kind)
            self.finish("answered", 200)
            return
        head = [f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(payload)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n")
        step = max(1, len(payload) // 20)
        parts = [payload[at : at + step] for at in range(0, len(payload), step)]
        self.send_parts(parts, rule)

    def send_stream(self, events, rule, headers):
        head = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Cache-Control: no-cache",
                "Transfer-Encoding: chunked"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n")
        events = list(events)
        if rule.get("split"):
            whole, size = b"".join(events), rule["split"]
            events = [whole[at : at + size] for at in range(0, len(whole), size)]
        parts = [f"{len(data):x}\r\n".encode() + data + b"\r\n" for data in events]
        if rule.get("stall"):
            self.transport.write(b"".join(parts[: max(1, len(parts) // 2)]))
            return
        self.send_parts(parts + [b"0\r\n\r\n"], rule)

    def send_parts(self, parts, rule):
        """Sends a body piece by piece, pausing or breaking off where the rule says so."""
        if rule.get("disconnect"):
            self.transport.write(b"".join(parts[: max(1, len(parts) // 2)]))
            self.finish("disconnected", 200)
            self.transport.close()
        elif not rule.get("drip_ms"):
            self.transport.write(b"".join(parts))
            self.finish("answered", 200)
        else:
            self.drip(parts, rule["drip_ms"] / 1000)

    def drip(self, parts, pause):
        self.transport.write(parts[0])
        if len(parts) > 1:
            self.timer = self.loop.call_later(pause, self.drip, parts[1:], pause)
            return
        self.timer = None
        self.finish("answered", 200)
        self.read_requests()


async def serve(args):
    loop = asyncio.get_running_loop()
    models = Models(args.remember, args.calls, args.marker)
    server = await loop.create_server(lambda: Connection(models), args.host, args.port,
                                      backlog=4096, reuse_address=True)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    print(f"model server on http://{args.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one (the default)")
    parser.add_argument("--remember", type=int, help="requests kept in the log (all)")
    parser.add_argument("--calls", metavar="FILE", help="write a JSON line for each call")
    parser.add_argument("--marker", metavar="REGEX", help="what to look for in the prompt")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
