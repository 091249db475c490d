"""LangGraph.js: graphs in one process, in memory without checkpoints, and with those of its PostgreSQL saver."""

from bench.peers.common import NodePeer


class LangGraph(NodePeer):
    name = "LangGraph.js"
    why_this_way = ("StateGraph, invoke, no checkpointer, no tracing: "
                    "https://docs.langchain.com/oss/javascript/langgraph/graph-api")
    package = "@langchain/langgraph"
    capabilities = frozenset({"graph", "durable"})
    needs = frozenset({"postgres"})

    def graph(self):
        return self.program("graph", {}, "load")

    def durable(self, url, runs, steps):
        """Steps a second."""
        return self.program("durable", {"url": url, "runs": runs, "steps": steps}, "load")
