// How long `threads` takes of a program with many goroutines, and of how many there is a stack. Run by hand:
//   NODE_PATH=… GOTRACE=target/release/gotrace ORDERS=target/fixtures/go…/orders node tests/dap/numbers.js 10000
'use strict';

const { Program, attach, overStdio } = require('./program.js');

const RUNS = 15;

/// Milliseconds of each call.
async function time(call) {
  const times = [];
  for (let run = 0; run < RUNS; run += 1) {
    const begin = process.hrtime.bigint();
    await call();
    times.push(Number(process.hrtime.bigint() - begin) / 1e6);
  }
  times.sort((a, b) => a - b);
  return { median: times[RUNS >> 1].toFixed(1), most: times[RUNS - 1].toFixed(1) };
}

async function main() {
  const idle = process.argv[2] ?? '10000';
  const program = await Program.start('-idle', idle);
  const { client, end } = await overStdio();
  try {
    await attach(client, { processId: program.ready.pid, stopOnEntry: false });
    const running = await time(() => client.threadsRequest());
    const pause = await time(async () => {
      const stopped = client.waitForEvent('stopped');
      await client.pauseRequest({ threadId: 1 });
      await stopped;
    });
    const paused = await time(() => client.threadsRequest());
    const { body: { threads } } = await client.threadsRequest();
    let stacks = 0;
    const begin = process.hrtime.bigint();
    for (const { id } of threads) {
      const { body } = await client.stackTraceRequest({ threadId: id });
      stacks += body.stackFrames.some(({ source, name }) => source && !name.startsWith('created by')) ? 1 : 0;
    }
    const all = Number(process.hrtime.bigint() - begin) / 1e6;
    console.log(`goroutines listed: ${threads.length}, with a stack: ${stacks}`);
    console.log(`threads, ms: ${JSON.stringify({ running, paused })}`);
    console.log(`pause until stopped, ms: ${JSON.stringify(pause)}`);
    console.log(`stackTrace of each, one by one, ms in all: ${all.toFixed(0)}`);
    await client.disconnectRequest();
  } finally {
    end();
    program.end();
  }
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
