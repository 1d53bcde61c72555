/** A command whose output is taken slowly: it waits, and nothing of what it said is lost. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import t from 'tap';
import { type ExecIo, runAttached } from '../../../daemon/runtime/exec.ts';

const run = (script: string, io: ExecIo) =>
  runAttached(
    ['/bin/sh', '-c', script],
    { env: process.env, detached: false, abort: (pid) => process.kill(pid, 9) },
    io,
  );

t.test('output is held back until what came before it is taken, also after the end', async (t) => {
  let [busy, overlaps, bytes, errors] = [false, 0, 0, ''];
  const code = await run('head -c 400000 /dev/zero; echo one >&2; exit 3', {
    onOutput: async (stream, chunk) => {
      if (stream === 'stderr') {
        errors += Buffer.from(chunk).toString();
        return;
      }
      if (busy) overlaps += 1;
      busy = true;
      // Longer than what a child that is left behind holds open is waited for.
      await sleep(300);
      busy = false;
      bytes += chunk.byteLength;
    },
  });
  t.equal(code, 3);
  t.equal(overlaps, 0);
  t.equal(bytes, 400_000);
  t.equal(errors, 'one\n');
});

t.test(
  'a child that is left behind and goes on writing is not waited for, however slowly it is read',
  async (t) => {
    let bytes = 0;
    const onOutput = async (_: string, chunk: Uint8Array): Promise<void> => {
      bytes += chunk.byteLength;
      await sleep(20);
    };
    t.equal(await run('yes & exit 0', { onOutput }), 0);
    t.ok(bytes < 64 << 20, `${bytes}`);
  },
);

t.test('a command whose output nobody takes ends when it is cancelled', async (t) => {
  const caller = new AbortController();
  const first = Promise.withResolvers<void>();
  const running = run('exec yes', {
    signal: caller.signal,
    onOutput: () => {
      first.resolve();
      return new Promise(() => undefined);
    },
  });
  await first.promise;
  caller.abort();
  await t.rejects(running, { code: 'E_CANCELLED' });
});

t.test('a child that is left behind and says little is not waited for either', async (t) => {
  const caller = new AbortController();
  const timer = setTimeout(() => caller.abort(), 5000);
  // It ends by itself, should nobody end it.
  const script = '(for n in $(seq 100); do echo tick || exit; sleep 0.1; done) & echo started';
  t.equal(await run(script, { signal: caller.signal, onOutput: () => undefined }), 0);
  clearTimeout(timer);
});

t.test('what was started is not signalled once it has ended', async (t) => {
  const caller = new AbortController();
  let [aborts_count, chunks_count] = [0, 0];
  const running = runAttached(
    ['/bin/sh', '-c', 'echo said'],
    { env: process.env, detached: false, abort: () => (aborts_count += 1) },
    {
      signal: caller.signal,
      onOutput: () => {
        chunks_count += 1;
        return new Promise(() => undefined);
      },
    },
  );
  // Longer than a child that is left behind is waited for.
  await sleep(600);
  t.equal(chunks_count, 1);
  caller.abort();
  await t.rejects(running, { code: 'E_CANCELLED' });
  t.equal(aborts_count, 0);
});

t.test('a command that cannot be started for want of descriptors is an error, and no more', async (t) => {
  const script = `
    import { openSync } from 'node:fs';
    const { runAttached } = await import(process.argv[1]);
    const options = { env: {}, detached: false, abort: () => undefined };
    const io = { onOutput: () => undefined };
    // What the loader and the loop need is open by now.
    await runAttached(['/bin/true'], options, io);
    try {
      for (;;) openSync('/dev/null');
    } catch {}
    await runAttached(['/bin/true'], options, io).catch(({ code }) => process.stdout.write(code));
  `;
  const module = path.resolve(import.meta.dirname, '../../../daemon/runtime/exec.ts');
  const limited = `ulimit -n 60; exec "$0" --input-type=module -e "$1" "$2"`;
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', limited, process.execPath, script, module]);
  t.equal(stdout, 'EMFILE');
});
