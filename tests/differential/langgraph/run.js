// LangGraph.js's half of the differential suite: reads cases (../graph_case.h), a line each, prints what
// happened (../graph_cases.c), a line each. What nodes do is said in ../graph_case.c, too: a change here
// is a change there.
'use strict';

const readline = require('node:readline');
const { StateGraph, Annotation, MemorySaver, Send, Command, Overwrite, interrupt, messagesStateReducer
} = require('@langchain/langgraph');
const { EphemeralValue, Topic, UntrackedValueChannel } = require('@langchain/langgraph/channels');
const { BaseMessage } = require('@langchain/core/messages');

const DIGEST = 2166136261;
const RUNS_MAX = 12;
const THREAD = { configurable: { thread_id: '1' } };
const ROLES = { human: 'user', ai: 'assistant' };

// As the C engine has it: messages as plain objects.
function plain(value) {
        if (BaseMessage.isInstance(value)) {
                const type = value.getType();
                return { role: ROLES[type] ?? type, content: value.content, id: value.id };
        }
        if (Array.isArray(value)) {
                return value.map(plain);
        }
        if (value !== null && typeof value === 'object') {
                return '__overwrite__' in value ? plain(value.__overwrite__)
                        : Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plain(v)]));
        }
        return value;
}

function mix(digest, text) {
        let d = digest;
        for (let i = 0; i < text.length; i++) {
                d = Math.imul(d ^ text.charCodeAt(i), 16777619);
        }
        return d >>> 0;
}

function canonical(value) {
        if (value === undefined) {
                return '~';
        }
        if (Array.isArray(value)) {
                return `[${value.map((v) => `${canonical(v)},`).join('')}]`;
        }
        if (value !== null && typeof value === 'object') {
                const members = Object.keys(value).sort();
                return `{${members.map((key) => `${key}:${canonical(value[key])},`).join('')}}`;
        }
        return typeof value === 'string' ? `"${value}"` : String(value);
}

const digestOf = (digest, value) => mix(digest, canonical(plain(value)));

function make(what, d) {
        let [a, b, c] = [d % 100, (d >>> 8) % 5, (d >>> 16) % 5];
        if (what === 'object' || what === 'remove') {
                a = d % 4;
        }
        if (what === 'renew') {
                a = b = c = d % 4;
        }
        const remove = (id) => ({ role: 'remove', content: '', id });
        const message = (role, content, id) => ({ role, content, id });
        switch (what) {
        case 'list': return [a, b];
        case 'text': return `t${a}`;
        case 'object': return { [`k${a}`]: b };
        case 'message': return message('user', `c${a}`, `m${b}`);
        case 'messages': return [message('assistant', `a${a}`, `m${b}`), message('user', 'b', `m${c}`)];
        case 'remove': return remove(`m${a}`);
        case 'remove_all': return [remove('__remove_all__'), message('user', `c${a}`, `m${b}`)];
        case 'renew': return [remove(`m${a}`), message('user', `n${b}`, `m${c}`)];
        case 'null': return null;
        case 'empty': return [];
        case 'none': return {};
        case 'int': return a;
        default: throw new Error(`no such make: ${what}`);
        }
}

const REDUCERS = {
        append: [(a, b) => a.concat(b), () => []],
        add: [(a, b) => a + b, () => 0],
        min: [Math.min], max: [Math.max],
        merge: [(a, b) => ({ ...a, ...b }), () => ({})],
        reducer: [(a, b) => (a * 31 + b) % 10007],
        messages: [messagesStateReducer, () => []],
};

function channelOf({ kind, initial }) {
        switch (kind) {
        case 'last_value': return Annotation();
        case 'topic': return new Topic();
        case 'ephemeral': return new EphemeralValue();
        case 'untracked': return new UntrackedValueChannel();
        default: {
                const [reducer, standard] = REDUCERS[kind];
                return Annotation({ reducer, default: initial === undefined ? standard : () => initial });
        }
        }
}

// ── nodes and routers ────────────────────────────────────────────────────────────────────────

const choose = (choices, d) => choices[(d >>> 4) % choices.length];
const follow = (choice, d) => choice.map(({ to, send }, i) =>
        to ?? new Send(send, { sent: (d + i) % 10 }));
const targetsOf = (choices) => [...new Set(choices.flat().map(({ to, send }) => to ?? send))];

function digestState(salt, reads, state) {
        return reads.reduce((d, name) => digestOf(d, state[name]), salt);
}

class NodeError extends Error {}

function nodeOf(spec) {
        const salt = mix(DIGEST, spec.name);
        return (state) => {
                let d = 'sent' in state ? digestOf(salt, state.sent) : digestState(salt, spec.reads, state);
                for (let n = 0; n < (spec.asks ?? 0); n++) {
                        d = digestOf(d, interrupt({ n, q: d % 1000 }));
                }
                if (spec.fails && d % spec.fails === 0) {
                        throw new NodeError('it fails');
                }
                const update = {};
                for (const { channel, make: what, overwrite } of spec.writes) {
                        const value = make(what, mix(d, channel));
                        update[channel] = overwrite ? new Overwrite(value) : value;
                }
                return spec.choices
                        ? new Command({ update, goto: follow(choose(spec.choices, d), d) }) : update;
        };
}

function routerOf({ reads, choices }, nth) {
        const salt = mix(DIGEST, 'router') + nth >>> 0;
        return (state) => {
                const d = digestState(salt, reads, state);
                return follow(choose(choices, d), d);
        };
}

function graphOf(spec) {
        const builder = new StateGraph(Annotation.Root(Object.fromEntries(
                spec.channels.map((channel) => [channel.name, channelOf(channel)]))));
        for (const node of spec.nodes) {
                builder.addNode(node.name, nodeOf(node), {
                        defer: node.defer ?? false,
                        ends: node.choices ? targetsOf(node.choices) : undefined,
                });
        }
        spec.edges.forEach(([from, to]) => builder.addEdge(from, to));
        spec.joins.forEach(({ from, to }) => builder.addEdge(from, to));
        spec.routers.forEach((router, nth) => builder.addConditionalEdges(
                router.from, Object.defineProperty(routerOf(router, nth), 'name', { value: `r${nth}` }),
                targetsOf(router.choices)));
        return builder.compile({ checkpointer: new MemorySaver() });
}

// ── runs ─────────────────────────────────────────────────────────────────────────────────────

function kindOf(error) {
        if (error instanceof AggregateError) {
                return kindOf(error.errors[0]);
        }
        if (error instanceof NodeError) {
                return 'node';
        }
        if (/EphemeralValue can only receive one value/.test(error.message)) {
                return 'INVALID_CONCURRENT_GRAPH_UPDATE'; // which it does not call by this name there
        }
        return error.lc_error_code ?? error.name;
}

// What a task has written; messages always as a list.
function updatesOf(spec, result) {
        const updates = plain(result);
        for (const { name, kind } of spec.channels) {
                if (kind === 'messages' && name in updates) {
                        updates[name] = [updates[name]].flat();
                }
        }
        return updates;
}

function stateEntry(spec, step, state) {
        const values = spec.channels
                .filter(({ name, kind }) => kind !== 'untracked' && state[name] !== undefined)
                .map(({ name }) => [name, plain(state[name])]);
        return ['state', step, Object.fromEntries(values)];
}

const lastStep = (log) => [...log].reverse().find(([kind]) => kind === 'state')?.[1] ?? -1;

// A stream that fails throws at once, and what it held ready is lost: the steps are with the saver yet.
// Returns the last step that was merged.
async function recover(spec, graph, log, limit) {
        const last = lastStep(log);
        const states = [];
        let merged = -1;
        for await (const { metadata, values } of graph.getStateHistory(THREAD)) {
                merged = Math.max(merged, metadata.step);
                if (metadata.step > last && metadata.step <= limit) {
                        states.push(stateEntry(spec, metadata.step, values));
                }
        }
        log.push(['lost'], ...states.reverse());
        return merged;
}

async function runOnce(spec, graph, input, log) {
        const asked = [];
        let step = 0;
        const stream = await graph.stream(input, {
                streamMode: ['tasks', 'checkpoints'], recursionLimit: spec.step_limit + 1, durability: 'sync',
                ...THREAD,
        });
        for await (const [mode, chunk] of stream) {
                if (mode === 'checkpoints') {
                        step = chunk.metadata.step;
                        if (step >= 0) {
                                log.push(stateEntry(spec, step, chunk.values));
                        }
                } else if ('result' in chunk) {
                        if (chunk.interrupts.length > 0) {
                                asked.push(...chunk.interrupts.map(({ id, value }) => [chunk.name, value, id]));
                        } else if (!chunk.error) {
                                log.push(['end', step + 1, chunk.name, updatesOf(spec, chunk.result)]);
                        }
                } else {
                        const last = log[log.length - 1];
                        if (last?.[0] === 'start') {
                                last[2].push(chunk.name);
                        } else {
                                log.push(['start', step + 1, [chunk.name]]);
                        }
                }
        }
        return asked;
}

async function runCase(spec) {
        const log = [];
        let graph, limit;
        try {
                graph = graphOf(spec);
                let input = spec.input;
                for (let n = 0; n < RUNS_MAX; n++) {
                        limit = Math.max(lastStep(log), 0) + spec.step_limit;
                        const asked = await runOnce(spec, graph, input, log);
                        if (asked.length === 0) {
                                log.push(['done']);
                                break;
                        }
                        log.push(['ask', asked.map(([node, value]) => [node, value])]);
                        input = new Command({ resume: Object.fromEntries(
                                asked.map(([, value, id]) => [id, digestOf(DIGEST, value) % 1000])) });
                }
        } catch (error) {
                // It was let begin one step above the limit, so as to end within it: ours ends before that.
                const merged = graph ? await recover(spec, graph, log, limit) : -1;
                log.push(['error', merged >= limit ? 'GRAPH_RECURSION_LIMIT' : kindOf(error),
                        error.message]);
        }
        return log;
}

async function main() {
        for await (const line of readline.createInterface({ input: process.stdin })) {
                console.log(JSON.stringify(await runCase(JSON.parse(line))));
        }
}

main();
