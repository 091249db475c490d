"""LangGraph.js: graphs in one process, in memory, without checkpoints."""

from bench.peers.common import NodePeer


class LangGraph(NodePeer):
    name = "LangGraph.js"
    why_this_way = ("StateGraph, invoke, no checkpointer, no tracing: "
                    "https://docs.langchain.com/oss/javascript/langgraph/graph-api")
    package = "@langchain/langgraph"
    capabilities = frozenset({"graph"})

    def graph(self):
        return self.program("graph", {}, "load")
