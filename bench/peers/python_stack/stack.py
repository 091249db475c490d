"""The stack of the product brief, as its authors would write it: what gateway and worker share.

FastAPI takes jobs and stores them through SQLAlchemy (asyncpg), then publishes them with aio-pika,
persistent, to a durable queue, and waits for the broker's confirm. The worker consumes them, runs
LangGraph's START -> agent -> END, and stores the result. Redis caches what GET answers.
"""

import enum
import uuid
from datetime import datetime

import aio_pika
import orjson
import redis.asyncio as redis
from pydantic_settings import BaseSettings
from sqlalchemy import DateTime, Enum, String, Text, Uuid, func
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Settings(BaseSettings):
    database_url: str
    rabbitmq_url: str
    redis_url: str
    rabbitmq_task_queue: str = "ai_tasks"
    redis_job_ttl: int = 3600
    db_pool_size: int = 20
    worker_prefetch: int = 64
    model_base_url: str = ""      # none: a model in the process that answers at once


class JobStatus(str, enum.Enum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    prompt: Mapped[str] = mapped_column(Text)
    config_name: Mapped[str] = mapped_column(String(255))
    template_name: Mapped[str] = mapped_column(String(255))
    status: Mapped[JobStatus] = mapped_column(
        Enum(JobStatus, native_enum=False, length=16), default=JobStatus.QUEUED)
    result: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(True), server_default=func.now(), onupdate=func.now())

    __mapper_args__ = {"eager_defaults": False}


class LLMConfig(Base):
    __tablename__ = "llm_configs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    provider: Mapped[str] = mapped_column(String(100))
    model_name: Mapped[str] = mapped_column(String(255))
    api_key_env: Mapped[str] = mapped_column(String(255))
    temperature: Mapped[float] = mapped_column(default=0.7)
    max_tokens: Mapped[int] = mapped_column(default=4096)
    is_active: Mapped[bool] = mapped_column(default=True)


class PromptTemplate(Base):
    __tablename__ = "prompt_templates"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    content: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)


def new_database(settings):
    """An engine and a maker of sessions; the pool holds its connections open."""
    engine = create_async_engine(
        settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=settings.db_pool_size, max_overflow=0)
    return engine, async_sessionmaker(engine, expire_on_commit=False)


def new_cache(settings):
    return redis.from_url(settings.redis_url)


def cache_key(job_id):
    return f"job:{job_id}"


def job_view(job):
    return {"job_id": str(job.id), "status": job.status.value, "result": job.result,
            "error": job.error, "created_at": job.created_at.isoformat(),
            "updated_at": job.updated_at.isoformat()}


def task_message(job):
    body = orjson.dumps({"job_id": str(job.id), "prompt": job.prompt,
                         "config_name": job.config_name, "template_name": job.template_name})
    return aio_pika.Message(body, content_type="application/json",
                            delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


async def create_schema(settings):
    engine, sessions = new_database(settings)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add(LLMConfig(name="default-smart", provider="openai", model_name="bench",
                              api_key_env="OPENAI_API_KEY"))
        session.add(PromptTemplate(name="default-assistant",
                                   content="You are a helpful assistant."))
    await engine.dispose()


async def declare_queue(channel, settings):
    return await channel.declare_queue(settings.rabbitmq_task_queue, durable=True)
