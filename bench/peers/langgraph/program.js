// What LangGraph's users write, with a clock: the graphs of bench/graph_steps.c, in one process.
//
// Started by peer.py as `node program.js graph '{}'`, or `durable '{"url", "runs", "steps"}'`; the last line it prints is its figures as JSON.
// It judges every run's final state: a wrong one is an error, never a figure.
'use strict';

const assert = require('node:assert');
const v8 = require('node:v8');
const vm = require('node:vm');
const { StateGraph, Annotation, START, END } = require('@langchain/langgraph');
const { PostgresSaver } = require('@langchain/langgraph-checkpoint-postgres');

const MESSAGE = 'A message of a hundred bytes, as a conversation has them: it says something, '
        + 'and then much more too.';
const ROUNDS = 2;
const IN_FLIGHT = 10000;

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

const last = () => Annotation();
const sum = () => Annotation({ reducer: (a, b) => a + b, default: () => 0 });
const list = () => Annotation({ reducer: (a, b) => a.concat(b), default: () => [] });

// Best nanoseconds of one call.
async function best(repeats, call) {
        let least = Infinity;
        for (let round = 0; round < ROUNDS; round++) {
                const began = process.hrtime.bigint();
                for (let i = 0; i < repeats; i++) {
                        await call(i);
                }
                least = Math.min(least, Number(process.hrtime.bigint() - began) / repeats);
        }
        return least;
}

function loop(channels, step, steps, checkpointer) {
        return new StateGraph(Annotation.Root(channels))
                .addNode('count', step)
                .addEdge(START, 'count')
                .addConditionalEdges('count', ({ n }) => (n >= steps ? END : 'count'), ['count', END])
                .compile({ checkpointer });
}

async function loopOfIntegers(steps) {
        const graph = loop({ n: last() }, ({ n }) => ({ n: n + 1 }), steps);
        return best(2, async () => {
                const state = await graph.invoke({ n: 0 }, { recursionLimit: steps + 1 });
                assert.strictEqual(state.n, steps);
        });
}

async function loopOfMessages(steps) {
        const graph = loop({ n: last(), messages: list() },
                ({ n }) => ({ n: n + 1, messages: [MESSAGE] }), steps);
        return best(1, async () => {
                const state = await graph.invoke({ n: 0 }, { recursionLimit: steps + 1 });
                assert.strictEqual(state.messages.length, steps);
        });
}

function chain() {
        const step = ({ n }) => ({ n: n + 1 });
        return new StateGraph(Annotation.Root({ n: last() }))
                .addNode('a', step).addNode('b', step).addNode('c', step)
                .addEdge(START, 'a').addEdge('a', 'b').addEdge('b', 'c').addEdge('c', END)
                .compile();
}

function fan() {
        const builder = new StateGraph(Annotation.Root({ n: sum() })).addNode('join', () => ({ n: 1 }));
        for (const name of ['a', 'b', 'c', 'd', 'e']) {
                builder.addNode(name, () => ({ n: 1 })).addEdge(START, name).addEdge(name, 'join');
        }
        return builder.addEdge('join', END).compile();
}

function runs(graph, more) {
        return best(200, async (i) => assert.strictEqual((await graph.invoke({ n: i })).n, i + more));
}

// Bytes of the heap that a run takes while it waits in its only node.
async function inFlight() {
        let open;
        const gate = new Promise((resolve) => { open = resolve; });
        const graph = new StateGraph(Annotation.Root({ n: sum() }))
                .addNode('wait', async () => { await gate; return {}; })
                .addEdge(START, 'wait').addEdge('wait', END).compile();
        const waiting = [graph.invoke({ n: 0 })];
        await new Promise((resolve) => { setTimeout(resolve, 100); });
        collect();
        const before = process.memoryUsage().heapUsed;
        for (let i = 0; i < IN_FLIGHT; i++) {
                waiting.push(graph.invoke({ n: 0 }));
        }
        await new Promise((resolve) => { setTimeout(resolve, 2000); });
        collect();
        const bytes = (process.memoryUsage().heapUsed - before) / IN_FLIGHT;
        open();
        assert.strictEqual((await Promise.all(waiting)).length, IN_FLIGHT + 1);
        return bytes;
}

async function graph() {
        const figures = {};
        await loopOfIntegers(100); // warm
        figures.loop = await loopOfIntegers(1000) / 1000;
        figures.late = (await loopOfMessages(1500) - await loopOfMessages(1000)) / 500;
        figures.chain = await runs(chain(), 3);
        figures.fan = await runs(fan(), 6);
        figures.compile = await best(500, chain);
        figures.memory = await inFlight();
        return figures;
}

// A loop of one integer channel; the state is kept at each step, as the saver does it by itself.
async function durable({ url, runs: atOnce, steps }) {
        const saver = PostgresSaver.fromConnString(url);
        await saver.setup();
        const graph = loop({ n: last() }, ({ n }) => ({ n: n + 1 }), steps, saver);
        const began = process.hrtime.bigint();
        const states = await Promise.all(Array.from({ length: atOnce }, (_, i) => graph.invoke({ n: 0 },
                { recursionLimit: steps + 1, configurable: { thread_id: `run ${i}` } })));
        const seconds = Number(process.hrtime.bigint() - began) / 1e9;
        assert(states.every(({ n }) => n === steps));
        await saver.end();
        return { steps_per_s: atOnce * steps / seconds };
}

assert.strictEqual(MESSAGE.length, 100);
const work = { graph, durable }[process.argv[2]];
work(JSON.parse(process.argv[3])).then((figures) => console.log(JSON.stringify(figures)));
