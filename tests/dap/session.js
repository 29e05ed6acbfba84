// A whole session of VS Code's own test client with gotrace's debug adapter, on standard streams, over TCP and of
// a snapshot's file. Between any two steps the program's counter must have moved on.
'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { GOTRACE, PATIENCE, Program, attach, overStdio, overTcp } = require('./program.js');

/// What is inside a variable or a scope, by name.
async function open(client, reference, page = {}) {
  const { body } = await client.variablesRequest({ variablesReference: reference, ...page });
  return new Map(body.variables.map((variable) => [variable.name, variable]));
}

async function frames(client, threadId, page = {}) {
  const { body } = await client.stackTraceRequest({ threadId, ...page });
  return body;
}

async function scopes(client, threadId) {
  const { stackFrames } = await frames(client, threadId);
  const { body } = await client.scopesRequest({ frameId: stackFrames[0].id });
  return new Map(body.scopes.map((scope) => [scope.name, scope.variablesReference]));
}

/// Goroutines, stacks and the queue as the program has them.
async function lookAround(client, ready, progress) {
  const { body: { threads } } = await client.threadsRequest();
  await progress('after threads');
  const names = new Map(threads.map(({ id, name }) => [id, name]));
  for (const customer of ready.customers) {
    assert.match(names.get(customer), /^\[Go \d+\] main\.submit \(chan send/);
  }
  for (const clerk of ready.clerks) {
    assert.match(names.get(clerk), /main\.clerk .*DEADLOCK \((proven|likely|suspect)\)$/);
  }
  const byId = (a, b) => a - b;
  const first = threads.slice(0, 2).map(({ id }) => id);
  assert.deepEqual(first, [...ready.clerks].sort(byId), 'findings come first');

  const [customer, second] = ready.customers;
  const { stackFrames, totalFrames } = await frames(client, customer);
  await progress('after stackTrace');
  assert.equal(stackFrames.length, totalFrames);
  const submit = stackFrames.find(({ name }) => name === 'main.submit');
  assert.equal(path.basename(submit.source.path), 'main.go');
  assert.ok(submit.line > 0);
  assert.match(stackFrames.at(-1).name, /^created by main\.main/);
  const page = await frames(client, customer, { startFrame: 1, levels: 1 });
  assert.deepEqual(page.stackFrames, [stackFrames[1]]);
  assert.equal(page.totalFrames, totalFrames);

  const around = await scopes(client, customer);
  await progress('after scopes');
  const waits = await open(client, around.get('Waits for'));
  assert.equal(waits.get('reason').value, 'chan send');
  const queue = waits.get(`send to ${ready.queue}`);
  assert.match(queue.value, /^chan main\.order 4\/4, full, 2 goroutines wait to send$/);
  const parts = await open(client, queue.variablesReference);
  for (const [name, value] of [['len', '4'], ['cap', '4'], ['state', 'open'], ['element type', 'main.order']]) {
    assert.equal(parts.get(name).value, value);
  }
  const elements = await open(client, parts.get('elements').variablesReference);
  await progress('after variables');
  // Oldest first, as they will be received.
  assert.deepEqual([...elements.keys()], ['[0]', '[1]', '[2]', '[3]']);
  for (const [index, name] of [...elements.keys()].entries()) {
    const order = await open(client, elements.get(name).variablesReference);
    assert.equal(order.get('ID').value, String(index + 1));
    assert.equal(order.get('Item').value, '"book"');
  }
  const fromSecond = await open(client, parts.get('elements').variablesReference, { filter: 'indexed', start: 1, count: 2 });
  assert.deepEqual([...fromSecond.keys()], ['[1]', '[2]']);
  const sendq = await open(client, parts.get('sendq').variablesReference);
  assert.match(sendq.get('[0]').value, new RegExp(`^\\[Go ${customer}\\] .* sends .*"ID":5`));
  assert.match(sendq.get('[1]').value, new RegExp(`^\\[Go ${second}\\] .* sends .*"ID":6`));
  const channels = await open(client, around.get('Channels'));
  assert.ok(channels.has(ready.queue));

  const stuck = await scopes(client, ready.clerks[0]);
  const findings = await open(client, stuck.get('Findings'));
  const [[title, deadlock]] = findings;
  assert.match(title, /^DEADLOCK/);
  const evidence = await open(client, (await open(client, deadlock.variablesReference)).get('evidence').variablesReference);
  assert.ok(evidence.size > 0);
  await progress('after findings');
}

/// Whatever would stop the program, or end it, is refused.
async function refuse(client, ready, progress) {
  const threadId = ready.customers[0];
  for (const step of [client.nextRequest({ threadId }), client.stepInRequest({ threadId }),
    client.stepOutRequest({ threadId }), client.setVariableRequest({ variablesReference: 1, name: 'len', value: '0' }),
    client.terminateRequest(), client.restartRequest({})]) {
    await assert.rejects(step, /gotrace (never|writes nothing)/);
  }
  const { body: { breakpoints } } = await client.setBreakpointsRequest({
    source: { path: '/main.go' }, breakpoints: [{ line: 1 }],
  });
  assert.equal(breakpoints.length, 1);
  assert.equal(breakpoints[0].verified, false);
  assert.match(breakpoints[0].message, /never stops/);
  await progress('after what was refused');
}

async function live({ client, end }) {
  const program = await Program.start();
  const progress = (when) => program.progress(when);
  const { ready } = program;
  try {
    const { capabilities, stopped } = await attach(client, { processId: ready.pid, stopOnEntry: true });
    assert.equal(capabilities.supportsConfigurationDoneRequest, true);
    assert.equal(capabilities.supportTerminateDebuggee, false);
    assert.equal(stopped.body.reason, 'entry');
    assert.equal(stopped.body.allThreadsStopped, true);
    assert.match(stopped.body.text, /the program runs on/);
    assert.ok(ready.clerks.includes(stopped.body.threadId), 'the first to look at is stuck');
    await progress('after attach');
    await lookAround(client, ready, progress);
    await refuse(client, ready, progress);

    const { body } = await client.continueRequest({ threadId: ready.clerks[0] });
    assert.equal(body.allThreadsContinued, true);
    await progress('after continue');
    await assert.rejects(frames(client, ready.customers[0]), /notStopped/);
    const { body: { threads } } = await client.threadsRequest();
    assert.ok(threads.some(({ id }) => id === ready.customers[0]), 'threads are known without a snapshot');

    const paused = client.waitForEvent('stopped');
    await client.pauseRequest({ threadId: 1 });
    assert.equal((await paused).body.reason, 'pause');
    await progress('after pause');
    await lookAround(client, ready, progress);
    const { body: { result } } = await client.evaluateRequest({ expression: 'deadlocks', context: 'repl' });
    assert.match(result, /^DEADLOCK/);
    const why = await client.evaluateRequest({ expression: `why ${ready.clerks[0]}`, context: 'repl' });
    assert.match(why.body.result, /can never run again/);
    await assert.rejects(client.evaluateRequest({ expression: 'os.Exit(1)', context: 'repl' }), /no Go expressions/);
    await client.continueRequest({ threadId: 1 });
    await progress('after the second continue');

    const said = client.waitForEvent('output');
    await client.disconnectRequest({ terminateDebuggee: true });
    assert.match((await said).body.output, /not terminated/);
    await progress('after disconnect');
    await progress('and on');
  } finally {
    end();
    program.end();
  }
}

/// The same from a file, after the program's end; values are sizes if the configuration says so.
async function postMortem(directory) {
  const program = await Program.start();
  const { ready } = program;
  const file = path.join(directory, 'orders.gotrace');
  execFileSync(GOTRACE, ['snapshot', '--pid', String(ready.pid), '-o', file]);
  const { client, end } = await overStdio();
  try {
    await attach(client, { processId: ready.pid, redact: true, stopOnEntry: true });
    const around = await scopes(client, ready.customers[0]);
    const queue = (await open(client, around.get('Waits for'))).get(`send to ${ready.queue}`);
    const parts = await open(client, queue.variablesReference);
    const elements = await open(client, parts.get('elements').variablesReference);
    assert.match(elements.get('[0]').value, /^<redacted: \d+ bytes>$/);
    await client.disconnectRequest();
  } finally {
    end();
    program.end();
  }
  const { client: reader, end: close } = await overStdio();
  try {
    const { stopped } = await attach(reader, { from: file });
    assert.match(stopped.body.text, /as recorded/);
    await lookAround(reader, ready, async () => {});
    await reader.disconnectRequest();
  } finally {
    close();
  }
}

async function main() {
  for (const [name, start] of [['stdio', overStdio], ['tcp', overTcp]]) {
    await live(await start());
    console.log(`${name}: a whole session`);
  }
  await postMortem(process.argv[2]);
  console.log('file: a whole session');
}

/// All of it together; whatever hangs is named by what was said before.
setTimeout(() => {
  console.error('a session hangs');
  process.exit(1);
}, 4 * PATIENCE).unref();

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
