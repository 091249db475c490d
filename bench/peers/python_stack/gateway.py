"""The gateway: POST /v1/jobs stores a job, then publishes it; GET /v1/jobs/{id} tells its state."""

import uuid
from contextlib import asynccontextmanager

import aio_pika
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, field_validator

import stack


class JobRequest(BaseModel):
    prompt: str = Field(min_length=1, max_length=100_000)
    config_name: str = "default-smart"
    template_name: str = "default-assistant"

    @field_validator("prompt")
    @classmethod
    def not_blank(cls, prompt):
        if not prompt.strip():
            raise ValueError("the prompt is blank")
        return prompt


class JobCreated(BaseModel):
    job_id: uuid.UUID
    status: stack.JobStatus


class JobView(BaseModel):
    job_id: uuid.UUID
    status: stack.JobStatus
    result: str | None
    error: str | None
    created_at: str
    updated_at: str


@asynccontextmanager
async def lifespan(app):
    settings = stack.Settings()
    engine, app.state.sessions = stack.new_database(settings)
    app.state.settings = settings
    app.state.cache = stack.new_cache(settings)
    connection = await aio_pika.connect_robust(settings.rabbitmq_url)
    app.state.channel = await connection.channel(publisher_confirms=True)
    await stack.declare_queue(app.state.channel, settings)
    yield
    await connection.close()
    await app.state.cache.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/jobs", status_code=201)
async def create_job(body: JobRequest, request: Request) -> JobCreated:
    state = request.app.state
    job = stack.Job(id=uuid.uuid4(), prompt=body.prompt, config_name=body.config_name,
                    template_name=body.template_name, status=stack.JobStatus.QUEUED)
    async with state.sessions.begin() as session:
        session.add(job)
    await state.channel.default_exchange.publish(
        stack.task_message(job), routing_key=state.settings.rabbitmq_task_queue)
    return JobCreated(job_id=job.id, status=job.status)


@app.get("/v1/jobs/{job_id}")
async def read_job(job_id: uuid.UUID, request: Request) -> JobView:
    state = request.app.state
    cached = await state.cache.get(stack.cache_key(job_id))
    if cached is not None:
        return JobView.model_validate_json(cached)
    async with state.sessions() as session:
        job = await session.get(stack.Job, job_id)
    if job is None:
        return JSONResponse({"detail": "Job not found", "code": "NOT_FOUND"}, 404)
    view = JobView(**stack.job_view(job))
    if job.status in (stack.JobStatus.COMPLETED, stack.JobStatus.FAILED):
        await state.cache.set(stack.cache_key(job_id), view.model_dump_json(),
                              ex=state.settings.redis_job_ttl)
    return view


@app.get("/health")
async def health():
    return {"status": "healthy", "service": "gateway"}
