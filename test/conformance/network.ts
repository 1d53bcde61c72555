/** What every Network does, whatever its backend. A backend's test calls it with a maker. */
import type { Test } from 'tap';
import type { Network } from '../../daemon/network/network.ts';

export interface NetworkUnderTest {
  /** A new daemon's network on the same host: what one left, the next one finds. */
  readonly make: () => Network;
  readonly subnet: string | null;
}

const PEER = {
  id: '12D3KooWPeerPeerPeerPeerPeerPeerPeerPeerPeerPeerPeer',
  host: '192.0.2.9',
  subnet: '10.211.9.0/24',
};

export async function networkConformance(t: Test, { make, subnet }: NetworkUnderTest): Promise<void> {
  const first = make();
  t.teardown(() => first.teardown());
  await first.start(subnet);
  await first.start(subnet);

  await t.test('an attached container has an address, and the same one when attached again', async (t) => {
    const one = await first.attach('conf-one');
    t.match(one.address, /^[0-9a-f.:]+$/);
    t.same(await first.attach('conf-one'), one);
    t.equal(one.resolver, first.gateway);
    t.equal(one.netns === null, first.kind === 'host');
  });

  await t.test('containers that have namespaces have addresses of their own', async (t) => {
    const [one, two] = await Promise.all([first.attach('conf-one'), first.attach('conf-two')]);
    if (first.kind === 'host') t.equal(one.address, two.address);
    else t.not(one.address, two.address);
    t.equal(one.netns === two.netns, first.kind === 'host');
  });

  await t.test('a restarted daemon finds what the former one left', async (t) => {
    const one = await first.attach('conf-one');
    const two = await first.attach('conf-two');
    await first[Symbol.asyncDispose]();
    await using second = make();
    await second.start(subnet);
    t.equal(second.gateway, first.gateway);
    t.same(await second.attach('conf-two'), two);
    t.same(await second.attach('conf-one'), one);
  });

  await t.test('detach is idempotent, also for a container that never was', async (t) => {
    await first.detach('conf-two');
    await first.detach('conf-two');
    await first.detach('conf-never');
    t.pass();
  });

  await t.test('sweep keeps what is named and takes the rest', async (t) => {
    const kept = await first.attach('conf-one');
    await first.attach('conf-left');
    await first.sweep(new Set(['conf-one']));
    t.same(await first.attach('conf-one'), kept);
  });

  await t.test('peers can be set, set again, changed and taken away', async (t) => {
    await first.setPeers([PEER]);
    await first.setPeers([PEER]);
    await first.setPeers([{ ...PEER, host: '192.0.2.10' }]);
    await first.setPeers([{ ...PEER, subnet: null }]);
    await first.setPeers([]);
    t.pass();
  });

  await t.test('when the host has a new address, instances have it too or keep their own', async (t) => {
    const before = await first.attach('conf-one');
    const haveMoved = await first.setHost('192.0.2.77');
    const after = await first.attach('conf-one');
    t.same(after, { ...before, address: haveMoved ? '192.0.2.77' : before.address });
    t.equal(haveMoved, first.kind === 'host');
    t.equal(await first.setHost('192.0.2.77'), false, 'once is enough');
    await first.setPeers([PEER]);
    await first.setPeers([]);
  });

  await t.test('teardown is idempotent, and a start after it begins anew', async () => {
    await first.teardown();
    await first.teardown();
    await first.start(subnet);
    await first.attach('conf-one');
  });
}
