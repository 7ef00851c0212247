#!/usr/bin/env node
// Runs a dnnsplit bundle with ONNX Runtime on this machine. An example, not a server.
//
//     node run.js                    one process, the sub-models in the manifest's order
//     node run.js --processes        one process a processor, tensors over loopback
//     node run.js --check            compare every output with the whole model, bit for bit
//
// Needs onnxruntime-node, installed here, in the working directory or in $NODE_PATH. Inputs
// are drawn from a seed; a file MODEL.hints.json beside the model can say
// {"shapes": {INPUT: [...]}, "sym": {DIM: N}, "values": {INPUT: ...}}.
'use strict';

const childProcess = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const {createRequire} = require('module');
const net = require('net');
const path = require('path');

const BUNDLE = "."; // relative to this file
const MODEL = ""; // the whole model, relative to this file; "": where the manifest's name leads to

const ARRAYS = {
  float16: Uint16Array, float32: Float32Array, float64: Float64Array, bfloat16: Uint16Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};

const PROVIDERS = {
  CUDAExecutionProvider: 'cuda', DmlExecutionProvider: 'dml', CoreMLExecutionProvider: 'coreml', WebGpuExecutionProvider: 'webgpu',
  TensorrtExecutionProvider: 'tensorrt', QNNExecutionProvider: 'qnn',
};

function fail(message) {
  console.error(`run.js: ${message}`);
  process.exit(1);
}

function load(name) {
  try {
    return require(name);
  } catch (e) {
    try {
      return createRequire(path.join(process.cwd(), 'x.js'))(name);
    } catch (again) {
      return fail(`${name} cannot be loaded (${again.message.split('\n')[0]}): install it with npm install ${name}`);
    }
  }
}

const ort = load('onnxruntime-node');

// Loads a model with graph optimisation off and on one thread: what makes results comparable.
function session(file, provider) {
  const executionProviders = ['cpu'];
  if (PROVIDERS[provider]) executionProviders.unshift(PROVIDERS[provider]);
  return ort.InferenceSession.create(file, {graphOptimizationLevel: 'disabled', intraOpNumThreads: 1, interOpNumThreads: 1, executionProviders});
}

// Runs a session on tensors by name and returns its outputs by name.
async function run(loaded, values) {
  const feeds = {};
  for (const name of loaded.inputNames) feeds[name] = values.get(name);
  const made = await loaded.run(feeds);
  return loaded.outputNames.map((name) => [name, made[name]]);
}

function openBundle(folder) {
  const file = path.join(folder, 'manifest.json');
  let manifest;
  try {
    manifest = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (e) {
    fail(`${file}: ${e.message}`);
  }
  if (manifest.schema !== 'dnnsplit/manifest/v1') fail(`${file}: its schema is ${manifest.schema}`);
  return {
    folder, manifest,
    submodels: new Map(manifest.submodels.map((s) => [s.id, s])),
    processors: manifest.processors.filter((p) => p.submodels.length > 0),
    load(submodel, useProviders) {
      const p = manifest.processors.find((q) => q.name === submodel.processor);
      return session(path.join(folder, submodel.file), useProviders ? p.provider : undefined);
    },
  };
}

// The whole model: as named, beside the bundle, here, or in the bundle.
function findModel(bundle, named) {
  const name = bundle.manifest.model.file;
  const tried = named ? [named] : [path.join(path.dirname(path.resolve(bundle.folder)), name), name, path.join(bundle.folder, name)];
  if (!named && MODEL) tried.push(path.join(__dirname, MODEL));
  return tried.find((file) => fs.existsSync(file)) || fail(`the whole model ${named || name} is not there, name it with --model`);
}

// mulberry32 (Tommy Ettinger, 2017): numbers in [0,1) from a seed.
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The float16 or bfloat16 next to x below, for x in [0,1).
function half(x, dtype) {
  const bits = new Uint32Array(new Float32Array([x]).buffer)[0];
  if (dtype === 'bfloat16') return bits >>> 16;
  const exponent = (bits >>> 23) - 112;
  return exponent <= 0 ? 0 : (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

function element(dtype, value) {
  if (dtype === 'string') return String(value);
  if (dtype === 'int64' || dtype === 'uint64') return BigInt(value);
  if (dtype === 'float16' || dtype === 'bfloat16') return half(Number(value), dtype);
  return Number(value);
}

// The size of a dimension: a number, a name, or a sum of them; null if nothing is known of it.
function extent(d, sizes) {
  if (typeof d === 'number') return d;
  if (d === null) return 1;
  if (Object.hasOwn(sizes, d)) return Number(sizes[d]);
  if (d.includes(' + ')) return d.split(' + ').reduce((sum, term) => sum + extent(term, sizes), 0);
  return /^\d+$/.test(d) ? Number(d) : 1;
}

// Makes a tensor for every input of the model.
function draw(bundle, seed, dims, hints) {
  const random = generator(seed);
  const sizes = {...(hints.sym || {}), ...dims};
  const values = new Map();
  for (const t of bundle.manifest.model.inputs) {
    let shape = (hints.shapes || {})[t.name] || t.shape;
    if (t.dtype !== 'string' && !ARRAYS[t.dtype]) fail(`input ${t.name} is of type ${t.dtype}, which JavaScript does not have`);
    if (shape === null) fail(`the rank of input ${t.name} is not known: give a shape in a hints file`);
    shape = shape.map((d) => extent(d, sizes));
    const n = shape.reduce((a, b) => a * b, 1);
    const hint = (hints.values || {})[t.name];
    const one = (i) => {
      if (hint !== undefined) return Array.isArray(hint) ? hint[i] : hint;
      if (t.dtype === 'string') return Math.floor(random() * 100);
      if (/float/.test(t.dtype)) return random();
      return /mask/i.test(t.name) ? 1 : Math.floor(random() * 2); // 0 or 1 is an index into nearly anything
    };
    const data = t.dtype === 'string' ? new Array(n) : new ARRAYS[t.dtype](n);
    for (let i = 0; i < n; i++) data[i] = element(t.dtype, one(i));
    values.set(t.name, new ort.Tensor(t.dtype, data, shape));
  }
  return values;
}

function outputsOf(bundle, values) {
  return new Map(bundle.manifest.outputs.map((o) => [o.tensor, values.get(o.tensor)]));
}

// Runs the sub-models one after the other.
async function runHere(bundle, feeds, useProviders) {
  const loaded = new Map();
  for (const s of bundle.manifest.submodels) loaded.set(s.id, await bundle.load(s, useProviders));
  const values = new Map(feeds);
  const start = performance.now();
  for (const s of bundle.manifest.submodels) {
    for (const [name, tensor] of await run(loaded.get(s.id), values)) values.set(name, tensor);
  }
  return {outputs: outputsOf(bundle, values), took: performance.now() - start};
}

// Tensors on a socket: the length of a JSON header, the header, then all contents.

function send(socket, head, entries) {
  const tensors = [];
  const bodies = [];
  for (const [name, t] of entries) {
    if (t.type === 'string') {
      tensors.push({name, dtype: t.type, shape: t.dims, strings: Array.from(t.data)});
      continue;
    }
    const body = Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength);
    tensors.push({name, dtype: t.type, shape: t.dims, bytes: body.length});
    bodies.push(body);
  }
  const text = Buffer.from(JSON.stringify({...head, tensors}));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  socket.write(Buffer.concat([length, text, ...bodies]));
}

// Reads messages from a socket: next() gives one, or fails when the other side is gone.
function receiver(socket) {
  let chunks = [];
  let have = 0;
  let wake = () => {};
  let gone = null;
  socket.on('data', (b) => { chunks.push(b); have += b.length; wake(); });
  const end = (e) => { gone = e instanceof Error ? e : new Error('the other side closed the connection'); wake(); };
  socket.on('end', end).on('error', end).on('close', end);
  const exactly = async (n) => {
    while (have < n) {
      if (gone) throw gone;
      await new Promise((resolve) => { wake = resolve; });
    }
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    chunks = [all.subarray(n)];
    have -= n;
    return all.subarray(0, n);
  };
  return async function next() {
    const length = (await exactly(4)).readUInt32LE();
    const head = JSON.parse((await exactly(length)).toString());
    const tensors = [];
    for (const t of head.tensors) {
      let data = t.strings;
      if (t.dtype !== 'string') {
        const body = await exactly(t.bytes);
        const own = new Uint8Array(body.length); // typed arrays must start at a multiple of their element's size
        own.set(body);
        data = new ARRAYS[t.dtype](own.buffer);
      }
      tensors.push([t.name, new ort.Tensor(t.dtype, data, t.shape)]);
    }
    return {head, tensors};
  };
}

// A worker process: runs the sub-models of one processor as it is told.
async function work(bundle, processor, port, useProviders) {
  const loaded = new Map();
  for (const s of bundle.manifest.submodels) {
    if (s.processor === processor) loaded.set(s.id, await bundle.load(s, useProviders));
  }
  const socket = net.connect(port, '127.0.0.1');
  const next = receiver(socket);
  send(socket, {processor, token: process.env.DNNSPLIT_TOKEN}, []);
  for (;;) {
    const {head, tensors} = await next();
    if (head.submodel === undefined) break;
    send(socket, {}, await run(loaded.get(head.submodel), new Map(tensors)));
  }
  socket.end();
}

// Runs a process a processor. Each takes its sub-models in order, as soon as their inputs are there.
async function runApart(bundle, feeds, options) {
  const token = crypto.randomBytes(16).toString('hex');
  const values = new Map(feeds);
  const links = new Map();
  const workers = [];
  let waiting = [];
  const changed = () => { const list = waiting; waiting = []; list.forEach((f) => f()); };
  const server = net.createServer(async (socket) => {
    try {
      const next = receiver(socket);
      const {head} = await next();
      if (head.token !== token) return void socket.destroy();
      links.set(head.processor, {socket, next});
      changed();
    } catch (e) {
      socket.destroy();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const broken = new Promise((_, reject) => {
      for (const p of bundle.processors) {
        const args = [__filename, '--bundle', bundle.folder, '--worker', p.name, '--port', String(server.address().port)];
        if (options.providers) args.push('--providers');
        const w = childProcess.spawn(process.execPath, args, {stdio: ['ignore', 'inherit', 'inherit'], env: {...process.env, DNNSPLIT_TOKEN: token}});
        w.on('error', reject);
        w.on('exit', (code) => { if (code !== 0) reject(new Error(`the process of ${p.name} ended with code ${code}`)); });
        workers.push(w);
      }
    });
    const until = async (condition) => { while (!condition()) await new Promise((resolve) => waiting.push(resolve)); };
    await Promise.race([broken, until(() => links.size === bundle.processors.length)]);
    const start = performance.now();
    const drive = async (p) => {
      const {socket, next} = links.get(p.name);
      for (const id of p.submodels) {
        const needs = bundle.submodels.get(id).inputs;
        await until(() => needs.every((n) => values.has(n)));
        send(socket, {submodel: id}, needs.map((n) => [n, values.get(n)]));
        for (const [name, tensor] of (await next()).tensors) values.set(name, tensor);
        changed();
      }
    };
    await Promise.race([broken, Promise.all(bundle.processors.map(drive))]);
    const took = performance.now() - start;
    const ended = Promise.all(workers.map((w) => new Promise((resolve) => w.on('exit', resolve))));
    for (const {socket} of links.values()) send(socket, {}, []);
    await Promise.race([broken, ended]);
    return {outputs: outputsOf(bundle, values), took};
  } finally {
    for (const w of workers) w.kill();
    for (const {socket} of links.values()) socket.destroy();
    server.close();
  }
}

function same(a, b) {
  if (a.type !== b.type || String(a.dims) !== String(b.dims)) return false;
  if (a.type === 'string') return a.data.every((s, i) => s === b.data[i]);
  const bytes = (t) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength);
  return bytes(a).equals(bytes(b));
}

const HELP = `usage: node run.js [--bundle DIR] [--model FILE] [--processes] [--check] [--providers] [--seed N] [--dim NAME=N ...]
  --processes  one process a processor
  --check      compare with the whole model; exit code 3 if it differs
  --providers  use the manifest's execution providers where this build has them; results then differ by rounding
  --dim        extent of a symbolic dimension (default 1)`;

function parse(argv) {
  const options = {bundle: path.join(__dirname, BUNDLE), seed: 0, dims: {}};
  const args = argv.slice();
  const value = (name) => (args.length > 0 ? args.shift() : fail(`${name} wants a value`));
  while (args.length > 0) {
    const a = args.shift();
    if (a === '--help' || a === '-h') {
      console.log(HELP);
      process.exit(0);
    } else if (a === '--processes' || a === '--check' || a === '--providers') {
      options[a.slice(2)] = true;
    } else if (a === '--bundle' || a === '--model' || a === '--worker') {
      options[a.slice(2)] = value(a);
    } else if (a === '--seed' || a === '--port') {
      options[a.slice(2)] = Number(value(a));
    } else if (a === '--dim') {
      const text = value(a);
      const at = text.lastIndexOf('=');
      if (at < 1 || !/^\d+$/.test(text.slice(at + 1))) fail('--dim wants NAME=N');
      options.dims[text.slice(0, at)] = Number(text.slice(at + 1));
    } else {
      fail(`there is no option ${a}\n${HELP}`);
    }
  }
  return options;
}

async function main() {
  const options = parse(process.argv.slice(2));
  const bundle = openBundle(options.bundle);
  if (options.worker !== undefined) return work(bundle, options.worker, options.port, options.providers);
  let model;
  let hints = {};
  if (options.check) {
    model = findModel(bundle, options.model);
    if (fs.existsSync(`${model}.hints.json`)) hints = JSON.parse(fs.readFileSync(`${model}.hints.json`, 'utf8'));
  }
  const feeds = draw(bundle, options.seed, options.dims, hints);
  const {outputs, took} = options.processes ? await runApart(bundle, feeds, options) : await runHere(bundle, feeds, options.providers);
  for (const [name, t] of outputs) console.log(`${name}: ${t.type}[${t.dims}]`);
  console.log(`${bundle.submodels.size} sub-models in ${took.toFixed(3)} ms`);
  if (!options.check) return undefined;
  const want = new Map(await run(await session(model), feeds));
  const different = [...outputs.keys()].filter((name) => !same(outputs.get(name), want.get(name)));
  for (const name of different) console.log(`DIFFERENT: ${name}`);
  if (different.length > 0) {
    process.exitCode = 3;
  } else {
    console.log(`EQUAL: all outputs are those of ${path.basename(model)}, bit for bit`);
  }
  return undefined;
}

main().catch((e) => fail(e.message));
