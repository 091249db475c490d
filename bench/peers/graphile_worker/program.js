// What graphile-worker's users write, with a clock: a producer and a worker on one PostgreSQL.
//
// Started by peer.py as `node program.js COMMAND '{"url": …}'`; the last line it prints is its
// figures as JSON. A job is done when its row is gone from the jobs table, since that is how
// graphile-worker records it; it stores no results. The program judges its own counts: a job lost
// or run twice is an error, never a figure.
'use strict';

const http = require('node:http');
const { makeWorkerUtils, run } = require('graphile-worker');
const { Pool } = require('pg');

const TASK = 'prompt';
const JOBS = 'graphile_worker._private_jobs';

const options = JSON.parse(process.argv[3]);
const now = () => performance.now() / 1000;
const text = (n) => `Write a haiku about programming, number ${n}`;

// The preset of the page on performance, with its figures for one worker.
const preset = {
        worker: {
                connectionString: options.url,
                concurrentJobs: 24,
                maxPoolSize: 25,
                localQueue: { size: 500 },
                completeJobBatchDelay: 0,
                failJobBatchDelay: 0,
        },
};

function newPool(max) {
        const pool = new Pool({ connectionString: options.url, max });
        const ended = (error) => console.error(error);
        pool.on('error', ended);
        pool.on('connect', (client) => client.on('error', ended));
        return pool;
}

async function jobsIn(pool, where = 'true') {
        const { rows } = await pool.query(`SELECT count(*)::int AS n FROM ${JOBS} WHERE ${where}`);
        return rows[0].n;
}

async function expectJobs(pool, expected) {
        const found = await jobsIn(pool);
        if (found !== expected) {
                throw new Error(`${expected} jobs expected in the table, ${found} there`);
        }
}

async function migrate() {
        const utils = await makeWorkerUtils({ preset });
        await utils.migrate();
        await utils.release();
        return {};
}

async function add({ n, callers }) {
        const pool = newPool(callers);
        const utils = await makeWorkerUtils({ pgPool: pool });
        await Promise.all(Array.from({ length: callers }, () => pool.query('SELECT pg_sleep(0.1)')));
        let next = 0;
        async function caller() {
                while (next < n) {
                        await utils.addJob(TASK, { prompt: text(next++) });
                }
        }
        const began = now();
        await Promise.all(Array.from({ length: callers }, caller));
        const seconds = now() - began;
        await expectJobs(pool, n);
        return { seconds };
}

async function bulk({ n, batch = 10000 }) {
        const pool = newPool(1);
        const utils = await makeWorkerUtils({ pgPool: pool });
        const began = now();
        for (let done = 0; done < n; done += batch) {
                const many = [];
                for (let i = done; i < Math.min(done + batch, n); i++) {
                        many.push({ identifier: TASK, payload: { prompt: text(i) } });
                }
                await utils.addJobs(many);
        }
        const seconds = now() - began;
        await expectJobs(pool, n);
        return { seconds };
}

const pause = () => new Promise((resolve) => setImmediate(resolve));

// Answers at once, and remembers which jobs it saw: none may come twice.
function onceTask(seen, handled) {
        return async (payload, helpers) => {
                if (seen.has(helpers.job.id)) {
                        console.error(`job ${helpers.job.id} came twice`);
                        process.exit(1);
                }
                seen.add(helpers.job.id);
                handled(helpers.job.id, payload);
                return `answer to ${helpers.job.id}`;
        };
}

async function drain({ n }) {
        const pool = newPool(1);
        await expectJobs(pool, n);
        const seen = new Set();
        let allHandled;
        const handled = new Promise((resolve) => { allHandled = resolve; });
        const task = onceTask(seen, () => seen.size === n && allHandled());
        const began = now();
        const runner = await run({ preset, taskList: { [TASK]: task } });
        await Promise.race([handled, runner.promise]);
        while ((await jobsIn(pool)) > 0) {
                await pause();
        }
        const seconds = now() - began;
        await runner.stop();
        await expectJobs(pool, 0);
        if (seen.size !== n) {
                throw new Error(`${n} jobs, ${seen.size} handled`);
        }
        return { seconds };
}

async function latency({ n, warm }) {
        const pool = newPool(2);
        const utils = await makeWorkerUtils({ pgPool: pool });
        let told;
        const task = onceTask(new Set(), () => told());
        const runner = await run({ preset, taskList: { [TASK]: task } });
        const seconds = [];
        for (let i = 0; i < n + warm; i++) {
                const handled = new Promise((resolve) => { told = resolve; });
                const began = now();
                const job = await utils.addJob(TASK, { prompt: text(i) });
                await handled;
                const gone = { name: 'gone', text: `SELECT 1 FROM ${JOBS} WHERE id = $1` };
                while ((await pool.query({ ...gone, values: [job.id] })).rowCount > 0) {
                        await pause();
                }
                seconds.push(now() - began);
        }
        await runner.stop();
        await expectJobs(pool, 0);
        return { seconds: seconds.slice(warm) };
}

// One call of the OpenAI Chat Completions API, on connections that stay open.
function newModel(base) {
        const agent = new http.Agent({ keepAlive: true });
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

// Works until it is told to end (run() handles SIGTERM itself). graphile-worker stores no results,
// so its users write them where they need them: here into a table, beside the jobs.
async function work({ models }) {
        const ask = newModel(models);
        const pool = newPool(24);
        await pool.query('CREATE TABLE IF NOT EXISTS results (job_id bigint PRIMARY KEY, result text)');
        const task = async (payload, helpers) => {
                const said = await ask(payload.prompt);
                await pool.query({ name: 'store', values: [helpers.job.id, said],
                        text: 'INSERT INTO results VALUES ($1, $2)' });
        };
        const runner = await run({ preset, taskList: { [TASK]: task } });
        console.log('ready');
        await runner.promise;
        return {};
}

const COMMANDS = { migrate, add, bulk, drain, latency, work };

COMMANDS[process.argv[2]](options).then((figures) => {
        console.log(JSON.stringify(figures));
        process.exit(0);
}, (error) => {
        console.error(error);
        process.exit(1);
});
