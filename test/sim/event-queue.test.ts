import t from 'tap';
import { EventQueue } from './event-queue.ts';
import { Prng } from './prng.ts';

function push(queue: EventQueue, at_ms: number, ref: unknown): void {
  queue.push(at_ms, 1, 2, 3, 4, 5, ref, null);
}

function drain(queue: EventQueue): unknown[] {
  const given: unknown[] = [];
  while (queue.pop()) given.push(queue.ref);
  return given;
}

t.test('it gives by time, and in order of arrival within one time, past its first capacity', async (t) => {
  const queue = new EventQueue();
  const prng = new Prng('queue');
  const items = Array.from({ length: 5000 }, (_, at) => ({ at, time: Math.floor(prng.between(0, 50)) }));
  for (const { at, time } of items) push(queue, time, `${time}/${at}`);
  t.equal(queue.size, items.length);
  t.same(
    drain(queue),
    items.toSorted((a, b) => a.time - b.time || a.at - b.at).map(({ at, time }) => `${time}/${at}`),
  );
});

t.test('pushes between pops come at their time', async (t) => {
  const queue = new EventQueue();
  const prng = new Prng('mixed');
  let now = 0;
  let isInOrder = true;
  for (let at = 0; at < 20_000; at += 1) {
    push(queue, now + prng.between(0, 100), at);
    if (prng.chance(0.5)) continue;
    const next_ms = queue.next_ms;
    queue.pop();
    isInOrder &&= queue.at_ms === next_ms && queue.at_ms >= now;
    now = queue.at_ms;
  }
  t.ok(isInOrder);
});

t.test('what is far ahead comes in its order too, beside what is pushed when it is near', async (t) => {
  const queue = new EventQueue();
  const prng = new Prng('far');
  const items: { readonly at: number; readonly time: number }[] = [];
  const add = (time: number) => {
    items.push({ at: items.length, time });
    push(queue, time, items.length - 1);
  };
  for (let at = 0; at < 2000; at += 1) add(Math.floor(prng.between(0, 400)) * 1000);
  const given: unknown[] = [];
  while (queue.pop()) {
    given.push(queue.ref);
    if (items.length < 4000) add(queue.at_ms + Math.floor(prng.between(0, 3)) * 1000);
  }
  const due = items.toSorted((a, b) => a.time - b.time || a.at - b.at);
  t.same(
    given,
    due.map(({ at }) => at),
  );
});

t.test('a time that does not come is refused', async (t) => {
  const queue = new EventQueue();
  for (const time of [Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => push(queue, time, null), RangeError);
  t.equal(queue.size, 0);
});

t.test('all fields of an item come back', async (t) => {
  const queue = new EventQueue();
  queue.push(7, 1, 2, 3, 4.5, -5, 'ref', 'body');
  t.ok(queue.pop());
  const { at_ms, kind, host, life, a, b, ref, body } = queue;
  t.same(
    { at_ms, kind, host, life, a, b, ref, body },
    { at_ms: 7, kind: 1, host: 2, life: 3, a: 4.5, b: -5, ref: 'ref', body: 'body' },
  );
  t.notOk(queue.pop());
  t.equal(queue.next_ms, Number.POSITIVE_INFINITY);
});
