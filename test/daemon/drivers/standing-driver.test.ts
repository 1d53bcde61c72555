/** What peers do reaches their standing, and who is banned is disconnected and kept out until the ban is over. */
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../../daemon/clock.ts';
import { StandingDriver } from '../../../daemon/drivers/standing-driver.ts';
import { MemoryNetwork } from '../../../protocols/mesh/memory-mesh.ts';
import { STANDING_DEFAULTS } from '../../../protocols/standing/config.ts';
import { connected, event, failure, TestCluster } from '../../conformance/mesh.ts';

async function guarded(t: Test) {
  const network = new MemoryNetwork();
  const cluster = new TestCluster(t, (init) => network.createMesh(init));
  let now = 1_000_000;
  const clock: Clock = { ...systemClock, now: () => now };
  const warned: string[] = [];
  const log = (level: string, message: string) => void (level === 'warn' && warned.push(message));
  const standing = new StandingDriver({ self: 'self', clock, log });
  const mesh = await cluster.node({
    guard: standing,
    isMember: (peer) => cluster.members.has(peer) && !standing.isBanned(peer),
  });
  standing.start(mesh);
  const peer = await cluster.node();
  await connected(peer, mesh);
  return { mesh, peer, standing, warned, pass: (ms: number) => (now += ms) };
}

t.test('a flood is cut off after what it is allowed, and its sender comes back after the ban', async (t) => {
  const { mesh, peer, standing, warned, pass } = await guarded(t);
  let got = 0;
  mesh.on('message', () => got++);
  const gone = event(mesh, 'disconnected');
  const limit = setInterval(() => {
    for (let n = 0; n < 1000; n++) peer.send(mesh.self, 'c', Uint8Array.of(1));
  }, 0);
  await gone;
  clearInterval(limit);
  t.ok(got <= STANDING_DEFAULTS.allowances.messages.capacity, `${got} were handled`);
  t.same(warned, ['a peer is limited', 'a peer is banned for a time']);
  t.equal(await failure(mesh.connect(peer.self, peer.addresses())), 'E_NOT_ALLOWED', 'not dialled');
  t.equal(await failure(peer.connect(mesh.self, mesh.addresses())), 'E_UNREACHABLE', 'not let in');
  t.match(standing.reports(), [{ peer: peer.self, standing: 'banned' }]);
  t.equal(standing.counters.bans, 1);
  pass(STANDING_DEFAULTS.banFirst_ms);
  await connected(peer, mesh);
  t.same(mesh.peers(), [peer.self]);
});

t.test('records count by what they turned out to be, and equivocation counts for its author', async (t) => {
  const { standing } = await guarded(t);
  const rejected = (reason: 'not-allowed' | 'bad-signature') =>
    ({ kind: 'rejected', from: 'p', reason, author: 'a' }) as const;
  standing.judge('relay', [rejected('not-allowed'), rejected('not-allowed')]);
  t.notOk(standing.isBanned('relay'));
  standing.judge('liar', [rejected('bad-signature'), rejected('bad-signature'), rejected('bad-signature')]);
  t.ok(standing.isBanned('liar'));
  const equivocation = (author: string, n: number) =>
    ({ kind: 'equivocation', author, records: [{ digest: 'a' }, { digest: `${n}` }] as never }) as const;
  for (let n = 0; n < 9; n++) standing.judge('messenger', [equivocation('copy', 0)]);
  t.notOk(standing.isBanned('copy'), 'one proof counts once, however often it is brought');
  for (let n = 1; n < 4; n++) standing.judge('messenger', [equivocation('twin', n)]);
  t.ok(standing.isBanned('twin'));
  t.notOk(standing.isBanned('messenger'));
  for (let n = 4; n < 9; n++) standing.judge('messenger', [equivocation('self', n)]);
  t.notOk(standing.isBanned('self'));
  t.match(standing.counters.offences, { 'not-allowed': 2, 'bad-signature': 3, equivocation: 4 });
});
