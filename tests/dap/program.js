// Starting what a session needs: the Go program, gotrace, VS Code's test client.
'use strict';

const { spawn } = require('node:child_process');
const readline = require('node:readline');
const { DebugClient } = require('@vscode/debugadapter-testsupport');

const { GOTRACE, ORDERS } = process.env;
/// How long anything may take that should take moments, milliseconds.
const PATIENCE = 30000;

/// A child process and its output, line by line.
class Child {
  constructor(command, args) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = readline.createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async line() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.process.spawnfile} ended`);
    return value;
  }

  end() {
    this.process.kill('SIGKILL');
  }
}

/// The program `orders` and its counter.
class Program extends Child {
  static async start(...args) {
    const program = new Program(ORDERS, args);
    program.ready = JSON.parse((await program.line()).replace(/^READY /, ''));
    program.last = -1;
    return program;
  }

  async count() {
    this.process.stdin.write('\n');
    return Number(await this.line());
  }

  /// Waits until the counter has moved on since it was last asked: the program runs.
  async progress(when) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const count = await this.count();
      if (count > this.last) {
        this.last = count;
        return;
      }
      if (Date.now() > deadline) throw new Error(`the program stands still ${when}, at ${count}`);
    }
  }
}

/// A client that talks to `gotrace dap` on its standard streams, which ends when it is disconnected or its input
/// ends. The client's own `stop` would disconnect once more and wait for an answer.
async function overStdio() {
  const client = new DebugClient(GOTRACE, 'dap', 'gotrace');
  client.defaultTimeout = PATIENCE;
  await client.start();
  return { client, end: () => {} };
}

/// A client that connects to a `gotrace dap --listen`.
async function overTcp() {
  const server = new Child(GOTRACE, ['dap', '--listen', '127.0.0.1:0']);
  const port = Number((await server.line()).match(/^listening on 127\.0\.0\.1:(\d+)$/)[1]);
  const client = new DebugClient(GOTRACE, 'dap', 'gotrace');
  await client.start(port);
  // A client that connects has no limit of its own.
  client.defaultTimeout = PATIENCE;
  return { client, end: () => server.end() };
}

/// Attaches as an editor does, up to the first snapshot if the configuration asks for one.
async function attach(client, configuration) {
  const { body: capabilities } = await client.initializeRequest();
  const initialized = client.waitForEvent('initialized');
  await client.attachRequest({ name: 'orders', type: 'gotrace', request: 'attach', ...configuration });
  await initialized;
  const stopped = configuration.stopOnEntry === false ? undefined : client.waitForEvent('stopped');
  await client.configurationDoneRequest();
  return { capabilities, stopped: await stopped };
}

module.exports = { GOTRACE, PATIENCE, Program, attach, overStdio, overTcp };
