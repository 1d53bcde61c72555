import { strict as assert } from 'node:assert';
import t from 'tap';
import { Timers } from '../../../protocols/membership/timers.ts';
import fc from '../../laws.ts';

t.test('timers are those that were started and not stopped, whatever the order', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant(null), fc.nat(60)), { maxLength: 400 }), (steps) => {
      const timers = new Timers();
      const model = new Map<number, number>();
      let last = 0;
      for (const [at_ms, step] of steps.entries()) {
        if (step === null) {
          const token = timers.start('late', null, at_ms);
          assert.ok(token > last, 'tokens only grow');
          last = token;
          model.set(token, at_ms);
        } else {
          const token = last - step;
          timers.stop(token);
          model.delete(token);
        }
        assert.equal(timers.size, model.size);
      }
      for (const [token, at_ms] of model) assert.equal(timers.get(token)?.at_ms, at_ms);
      assert.deepEqual([...timers.values()].map(({ token }) => token).sort(), [...model.keys()].sort());
    }),
  );
});

t.test('a token that was never given, or has ended, is unknown', async (t) => {
  const timers = new Timers();
  const token = timers.start('relay', 7, 1);
  for (const other of [0, -1, token + 1, token + 16]) t.equal(timers.get(other), undefined);
  t.match(timers.get(token), { kind: 'relay', of: 7, at_ms: 1 });
  timers.stop(token);
  timers.stop(token);
  t.equal(timers.get(token), undefined);
  t.equal(timers.size, 0);
});

t.test('one that lasts keeps its place while others come and go', async (t) => {
  const timers = new Timers();
  const lasting = timers.start('redial', null, 1000);
  for (let at_ms = 0; at_ms < 100; at_ms += 1) timers.stop(timers.start('late', null, at_ms));
  t.match(timers.get(lasting), { kind: 'redial', at_ms: 1000 });
  t.equal(timers.size, 1);
});
