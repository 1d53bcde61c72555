/** Which subnet a host takes: what it had, by its member record or by what it kept apart, unless another has it now. */
import t from 'tap';
import { systemClock } from '../../../daemon/clock.ts';
import type { Network } from '../../../daemon/network/network.ts';
import { OwnSubnet } from '../../../daemon/network/own-subnet.ts';
import type { StoreBatch } from '../../../daemon/store/state-store.ts';
import type { NodeId } from '../../../protocols/base/ids.ts';
import { claimSubnet } from '../../../protocols/discovery/subnet.ts';
import type { ClusterView, MemberView } from '../../../protocols/view/view.ts';

const RANGE = '10.210.0.0/16';
const self = 'kb' as NodeId;
const other = 'ka' as NodeId;
const FIRST = claimSubnet(RANGE, new Set(), self)!;
const SECOND = claimSubnet(RANGE, new Set([FIRST]), self)!;

function host(values = new Map<string, string>()) {
  const started: (string | null)[] = [];
  const events: string[] = [];
  let theirs: string | null = null;
  const network: Network = {
    kind: 'vxlan',
    gateway: null,
    start: async (subnet) => void started.push(subnet),
    setPeers: async () => {},
    setHost: async () => false,
    attach: () => Promise.reject(new Error('not here')),
    detach: async () => {},
    sweep: async () => {},
    teardown: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
  const member = (id: NodeId, subnet: string | null) => ({ id, subnet, host: '192.0.2.1' }) as MemberView;
  const members = (): ClusterView['members'] => new Map([[other, member(other, theirs)]]);
  const own = new OwnSubnet({
    self,
    range: RANGE,
    network,
    store: {
      value: (name) => values.get(name),
      write: (batch: StoreBatch) => {
        for (const [name, value] of batch.values ?? []) values.set(name, value);
      },
    },
    clock: systemClock,
    log: () => {},
    members,
    onGateway: async () => {},
    onMoved: () => void events.push('moved'),
    onRetry: () => {},
  });
  return {
    own,
    values,
    started,
    events,
    claim(subnet: string) {
      theirs = subnet;
      own.link(new Map([...members(), [self, member(self, own.subnet)]]), true);
    },
  };
}

t.test('a host that lost its member record has the subnet that it had', async (t) => {
  const { own, values } = host();
  await own.start(SECOND);
  t.equal(own.subnet, SECOND, 'its record says so');
  const again = host(values);
  await again.own.start(null);
  t.equal(again.own.subnet, SECOND);
  const recorded = host(values);
  await recorded.own.start(FIRST);
  t.equal(recorded.own.subnet, FIRST, 'the record counts where there is one');
});

t.test('what another member has is not taken for having had it', async (t) => {
  const { own, values, claim } = host(new Map([['subnet', FIRST]]));
  claim(FIRST);
  await own.start(null);
  t.equal(own.subnet, SECOND);
  t.equal(values.get('subnet'), SECOND, 'and that is kept from now on');
});

t.test('a host that moves keeps where it moved to', async (t) => {
  const { own, values, claim, events, started } = host();
  await own.start(null);
  t.equal(own.subnet, FIRST);
  claim(FIRST);
  await new Promise(setImmediate);
  t.same(events, ['moved']);
  t.same(started, [FIRST, SECOND]);
  t.equal(values.get('subnet'), SECOND);
});
