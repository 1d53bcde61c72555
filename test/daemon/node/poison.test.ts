/** A record that passes every check and makes a part of one node throw: it is shown nowhere there, and the node lives on. */
import t, { type Test } from 'tap';
import { MembershipDriver } from '../../../daemon/drivers/membership-driver.ts';
import { SchedulerDriver } from '../../../daemon/drivers/scheduler-driver.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import type { ClusterView } from '../../../protocols/view/view.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

t.setTimeout(120_000);

const POISON = { namespace: 'default', name: 'poison' };

/** Makes a method throw while `is` holds of what it is given. */
function breaking<K extends string, T extends Record<K, (given: never, ...rest: never[]) => void>>(
  t: Test,
  prototype: T,
  name: K,
  is: (given: Parameters<T[K]>[0]) => boolean,
) {
  const real = prototype[name];
  const broken = function (this: T, ...given: Parameters<T[K]>) {
    if (is(given[0])) throw new TypeError('a poison that nobody has thought of');
    return real.apply(this, given);
  };
  prototype[name] = broken as T[K];
  t.teardown(() => {
    prototype[name] = real;
  });
}

t.test('a workload at which the scheduler throws is held; all other work goes on', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  breaking(t, SchedulerDriver.prototype, 'view', (view: ClusterView) =>
    view.workloads.has('default/poison' as never),
  );
  const poison = await a!.backend.run({ ...POISON, image: IMAGE });
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('the other one runs', async () => (await running(a!.backend, 'web')).length === 1);
  await a!.backend.scale({ namespace: 'default', name: 'web' }, 2);
  await eventually('it is told', async () => {
    const { problems } = await a!.backend.status();
    return problems.some(({ kind, message }) => kind === 'quarantine' && message.startsWith('1 '));
  });
  await eventually('it is shown nowhere', async () => {
    return (await a!.backend.workloads()).map(({ name }) => name).join() === 'web';
  });
  const { ledger } = a!.cluster!.ledger.machine;
  t.equal(ledger.get('workload', 'default/poison')?.digest, poison.revision, 'it is kept, and so passed on');
  await eventually('work goes on', async () => (await running(a!.backend, 'web')).length === 2);

  await cluster.stop('a');
  const again = await cluster.start('a');
  t.match(
    (await again.backend.status()).problems,
    [{ kind: 'quarantine' }],
    'a restart does not set it free',
  );
  await eventually('work is seen again', async () => (await running(again.backend, 'web')).length === 2);
});

t.test('a member record at which membership throws costs that member, and nobody else', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  breaking(t, MembershipDriver.prototype, 'member', (id: NodeId) => id === c!.id);
  await cluster.stop('c');
  const poisoned = await cluster.start('c', { name: 'poison' });
  t.equal(poisoned.id, c!.id);
  // The second time, by any change that makes the view new.
  await b!.backend.run({ name: 'web', image: IMAGE });
  await a!.backend.setIntent(b!.id, { intent: 'cordoned' });
  await eventually('a and b go on with one another', async () => {
    const members = await a!.backend.nodes();
    return members.some(
      ({ id, status, intent }) => id === b!.id && status === 'alive' && intent === 'cordoned',
    );
  });
  await eventually('a holds it', async () => {
    await a!.backend.setIntent(b!.id, { intent: 'active' });
    const { problems } = await a!.backend.status();
    return problems.some(({ kind }) => kind === 'quarantine');
  });
  t.ok(a!.cluster!.ledger.machine.ledger.get('member', c!.id));
});
