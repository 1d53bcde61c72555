/** To whom a node dials first when both sides learn of one another. What becomes of lost links: membership.test.ts. */
import t from 'tap';
import { Machine } from './harness.ts';

function dialled(machine: Machine): string[] {
  return machine.of('connect').map(({ peer }) => peer);
}

t.test('of two that never met the lesser id dials, also when the record comes after the grant', async (t) => {
  const lesser = new Machine('a');
  const greater = new Machine('b');
  for (const [machine, other] of [
    [lesser, 'b'],
    [greater, 'a'],
  ] as const) {
    machine.give({ kind: 'start' });
    machine.give({ kind: 'member', id: other, incarnation: 0 });
    machine.pass(900);
    machine.give({ kind: 'member', id: other, incarnation: 1 });
  }
  t.ok(dialled(lesser).length > 1, 'now, and once its addresses can be known');
  t.same(dialled(greater), []);
  greater.give({ kind: 'connected', peer: 'a' });
  greater.pass(10_000);
  t.same(dialled(greater), [], 'the other side was able to');
});

t.test('the greater id dials all the same when the lesser one cannot', async (t) => {
  const greater = new Machine('b');
  greater.give({ kind: 'start' });
  greater.give({ kind: 'member', id: 'a', incarnation: 1 });
  greater.pass(1100);
  t.same(dialled(greater), ['a']);
  greater.pass(3000);
  t.ok(dialled(greater).length > 1, 'again and again');
});

t.test('a member that was met and lost is dialled by both sides', async (t) => {
  const greater = new Machine('b').join('a', 'c');
  greater.pass(5000);
  greater.give({ kind: 'disconnected', peer: 'a' });
  t.same(dialled(greater), ['a']);
});

t.test('who has no connection and should have one is known without looking', async (t) => {
  const a = new Machine('a').join('b', 'c');
  const connected = (all: Iterable<{ readonly id: string; readonly isConnected: boolean }>) =>
    Array.from(all)
      .flatMap(({ id, isConnected }) => (isConnected ? [id] : []))
      .sort();
  const known = () => ({
    unlinked: [...a.state.unlinked],
    members: connected(a.state.members.values()),
    told: connected(a.state.audience),
  });
  t.same(known(), { unlinked: [], members: ['b', 'c'], told: ['b', 'c'] });
  a.give({ kind: 'disconnected', peer: 'b' });
  t.same(known(), { unlinked: ['b'], members: ['c'], told: ['c'] });
  a.give({ kind: 'connected', peer: 'b' });
  t.same(known(), { unlinked: [], members: ['b', 'c'], told: ['b', 'c'] });
  a.give({ kind: 'disconnected', peer: 'b' });
  a.give({ kind: 'removed', id: 'b' });
  t.same(known(), { unlinked: [], members: ['c'], told: ['c'] });
});
