// What BullMQ's users write, with a clock: a producer and a worker on one queue in Redis.
//
// Started by peer.py as `node program.js COMMAND '{"url": …}'`; the last line it prints is its
// figures as JSON. It keeps every finished job in Redis, as a platform that answers "what became of
// my job?" must, and judges its own counts: a job lost or run twice is an error, never a figure.
'use strict';

const http = require('node:http');
const { Queue, Worker } = require('bullmq');
const Redis = require('ioredis');

const QUEUE = 'jobs';
const BULK = 1000;

const options = JSON.parse(process.argv[3]);
const now = () => performance.now() / 1000;
const text = (n) => `Write a haiku about programming, number ${n}`;

// A worker's connection must retry for ever (docs: guide/connections).
const connect = () => new Redis(options.url, { maxRetriesPerRequest: null });

async function ready(queue) {
        await queue.waitUntilReady();
        return queue;
}

function newQueue() {
        return ready(new Queue(QUEUE, { connection: connect() }));
}

async function expectCounts(queue, expected) {
        const counts = await queue.getJobCounts('wait', 'active', 'completed', 'failed', 'delayed');
        for (const [state, count] of Object.entries(expected)) {
                if (counts[state] !== count) {
                        throw new Error(`${count} ${state} expected: ${JSON.stringify(counts)}`);
                }
        }
}

async function add({ n, callers }) {
        const queue = await newQueue();
        let next = 0;
        async function caller() {
                while (next < n) {
                        await queue.add('prompt', { prompt: text(next++) });
                }
        }
        const began = now();
        await Promise.all(Array.from({ length: callers }, caller));
        const seconds = now() - began;
        await expectCounts(queue, { wait: n });
        return { seconds };
}

async function bulk({ n }) {
        const queue = await newQueue();
        const began = now();
        for (let done = 0; done < n; done += BULK) {
                const many = [];
                for (let i = done; i < Math.min(done + BULK, n); i++) {
                        many.push({ name: 'prompt', data: { prompt: text(i) } });
                }
                await queue.addBulk(many);
        }
        const seconds = now() - began;
        await expectCounts(queue, { wait: n });
        return { seconds };
}

function newWorker(handler, concurrency) {
        const worker = new Worker(QUEUE, handler, {
                connection: connect(), concurrency, autorun: false,
        });
        worker.on('error', (error) => console.error(error));
        return worker;
}

// Answers at once, and remembers which jobs it saw: none may come twice.
function onceHandler(seen) {
        return async (job) => {
                if (seen.has(job.id)) {
                        throw new Error(`job ${job.id} came twice`);
                }
                seen.add(job.id);
                return `answer to ${job.id}`;
        };
}

async function drain({ n, concurrency }) {
        const queue = await newQueue();
        await expectCounts(queue, { wait: n });
        const seen = new Set();
        const worker = newWorker(onceHandler(seen), concurrency);
        await worker.waitUntilReady();
        let completed = 0;
        const began = now();
        await new Promise((resolve, reject) => {
                worker.on('failed', (job, error) => reject(error));
                worker.on('completed', () => {
                        if (++completed === n) {
                                resolve();
                        }
                });
                worker.run().catch(reject);
        });
        const seconds = now() - began;
        await expectCounts(queue, { completed: n, wait: 0, active: 0, failed: 0 });
        if (seen.size !== n) {
                throw new Error(`${n} jobs, ${seen.size} handled`);
        }
        return { seconds };
}

async function latency({ n, warm, concurrency }) {
        const queue = await newQueue();
        const done = new Map();
        const worker = newWorker(onceHandler(new Set()), concurrency);
        worker.on('completed', (job) => done.get(job.data.n)());
        await worker.waitUntilReady();
        worker.run().catch((error) => console.error(error));
        const seconds = [];
        for (let i = 0; i < n + warm; i++) {
                const finished = new Promise((resolve) => done.set(i, resolve));
                const began = now();
                await queue.add('prompt', { n: i, prompt: text(i) });
                await finished;
                seconds.push(now() - began);
        }
        await expectCounts(queue, { completed: n + warm, wait: 0, active: 0, failed: 0 });
        return { seconds: seconds.slice(warm) };
}

// One call of the OpenAI Chat Completions API, on connections that stay open.
function newModel(base, sockets) {
        const agent = new http.Agent({ keepAlive: true, maxSockets: sockets });
        const url = new URL(`${base}/chat/completions`);
        const headers = { 'content-type': 'application/json', authorization: 'Bearer none' };
        return (prompt) => new Promise((resolve, reject) => {
                const body = JSON.stringify({
                        model: 'bench', messages: [{ role: 'user', content: prompt }],
                });
                const request = http.request(url, { agent, method: 'POST', headers: {
                        ...headers, 'content-length': Buffer.byteLength(body),
                } }, (answer) => {
                        const parts = [];
                        answer.on('data', (part) => parts.push(part));
                        answer.on('error', reject);
                        answer.on('end', () => {
                                if (answer.statusCode !== 200) {
                                        reject(new Error(`model: ${answer.statusCode}`));
                                        return;
                                }
                                const said = JSON.parse(Buffer.concat(parts).toString());
                                resolve(said.choices[0].message.content);
                        });
                });
                request.on('error', reject);
                request.end(body);
        });
}

// Works until it is told to end.
async function work({ models, concurrency }) {
        const ask = newModel(models, concurrency);
        const worker = newWorker((job) => ask(job.data.prompt), concurrency);
        worker.on('failed', (job, error) => console.error(job && job.id, error));
        await worker.waitUntilReady();
        const ended = worker.run();
        console.log('ready');
        process.on('SIGTERM', () => worker.close());
        await ended;
        return {};
}

async function counts() {
        const queue = await newQueue();
        return queue.getJobCounts('wait', 'active', 'completed', 'failed', 'delayed');
}

const COMMANDS = { add, bulk, drain, latency, work, counts };

COMMANDS[process.argv[2]](options).then((figures) => {
        console.log(JSON.stringify(figures));
        process.exit(0);
}, (error) => {
        console.error(error);
        process.exit(1);
});
