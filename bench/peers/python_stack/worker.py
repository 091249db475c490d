"""The worker ("AI engine"): consumes a task, runs START -> agent -> END, stores what came of it.

A message is acknowledged when its job's result is committed.
"""

import asyncio
import os
from typing import TypedDict

import aio_pika
import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from sqlalchemy import select, update

import stack


class InstantModel(BaseChatModel):
    """Answers at once. LangChain's own fake models would go through a thread for each call."""

    @property
    def _llm_type(self):
        return "instant"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("A short answer."))])

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return self._generate(messages)


class AgentState(TypedDict):
    system: str
    prompt: str
    answer: str


def build_graph(model):
    async def agent(state):
        answer = await model.ainvoke([SystemMessage(state["system"]),
                                      HumanMessage(state["prompt"])])
        return {"answer": answer.content}

    graph = StateGraph(AgentState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    return graph.compile()


class Engine:
    """One process's share of the work; configurations and graphs are kept once read."""

    def __init__(self, settings):
        self.settings = settings
        self.database, self.sessions = stack.new_database(settings)
        self.graphs, self.templates = {}, {}
        self.seen = set()
        self.completed = 0

    def new_model(self, config):
        if not self.settings.model_base_url:
            return InstantModel()
        return ChatOpenAI(model=config.model_name, temperature=config.temperature,
                          max_tokens=config.max_tokens, base_url=self.settings.model_base_url,
                          api_key=os.environ.get(config.api_key_env, "none"))

    async def named(self, session, kind, name):
        return (await session.execute(select(kind).where(kind.name == name))).scalar_one()

    async def graph(self, name):
        if name not in self.graphs:
            async with self.sessions() as session:
                config = await self.named(session, stack.LLMConfig, name)
            self.graphs[name] = build_graph(self.new_model(config))
        return self.graphs[name]

    async def template(self, name):
        if name not in self.templates:
            async with self.sessions() as session:
                found = await self.named(session, stack.PromptTemplate, name)
            self.templates[name] = found.content
        return self.templates[name]

    async def set_job(self, job_id, **values):
        async with self.sessions.begin() as session:
            await session.execute(
                update(stack.Job).where(stack.Job.id == job_id).values(**values),
                execution_options={"synchronize_session": False})

    async def process(self, message):
        """One task, from its delivery to its acknowledgement."""
        task = orjson.loads(message.body)
        if task["job_id"] in self.seen:
            raise SystemExit(f"job {task['job_id']} came twice")
        self.seen.add(task["job_id"])
        await self.set_job(task["job_id"], status=stack.JobStatus.PROCESSING)
        try:
            graph = await self.graph(task["config_name"])
            system = await self.template(task["template_name"])
            state = await graph.ainvoke({"system": system, "prompt": task["prompt"]})
            await self.set_job(task["job_id"], status=stack.JobStatus.COMPLETED,
                               result=state["answer"])
            self.completed += 1
        except Exception as error:  # whatever the model's library throws ends the job
            print("failed:", task["job_id"], repr(error))
            await self.set_job(task["job_id"], status=stack.JobStatus.FAILED, error=str(error))
        await message.ack()


async def consume(engine, until):
    """Works until `until(engine)` is true; None: until the process is ended."""
    settings = engine.settings
    connection = await aio_pika.connect_robust(settings.rabbitmq_url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=settings.worker_prefetch)
    queue = await stack.declare_queue(channel, settings)
    done = asyncio.Event()

    async def handle(message):
        await engine.process(message)
        if until and until(engine):
            done.set()

    await queue.consume(handle)
    print("ready", flush=True)
    await done.wait()
    await connection.close()
