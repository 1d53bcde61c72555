/** A command whose output is taken slowly: it waits, and nothing of what it said is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
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
