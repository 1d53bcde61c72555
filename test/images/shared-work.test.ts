import t from 'tap';
import { SharedWork } from '../../images/shared-work.ts';
import { Slots } from '../../images/slots.ts';

const until = (signal: AbortSignal) =>
  new Promise<string>((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(new Error('stopped'))),
  );

t.test('work is told to stop when all callers gave up, and starts anew for the next', async (t) => {
  const shared = new SharedWork<string, string>();
  let started = 0;
  const work = (signal: AbortSignal) => {
    started += 1;
    return started === 1 ? until(signal) : Promise.resolve('done');
  };
  const [a, b] = [new AbortController(), new AbortController()];
  const calls = [shared.run('key', a.signal, work), shared.run('key', b.signal, work)];
  t.equal(started, 1);
  a.abort();
  b.abort();
  for (const call of calls) await t.rejects(call, { code: 'E_CANCELLED' });
  t.equal(await shared.run('key', undefined, work), 'done');
  t.equal(started, 2);
});

t.test('a failure reaches every caller and is not remembered', async (t) => {
  const shared = new SharedWork<string, number>();
  const failing = async () => {
    throw new Error('no');
  };
  const calls = [shared.run('key', undefined, failing), shared.run('key', undefined, failing)];
  for (const call of calls) await t.rejects(call, { message: 'no' });
  t.equal(await shared.run('key', undefined, async () => 1), 1);
});

t.test('no more run at once than there are slots', async (t) => {
  const slots = new Slots(2);
  let running = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 10 }, () =>
      slots.run(async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      }),
    ),
  );
  t.equal(most, 2);
});
