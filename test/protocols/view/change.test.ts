/** What a record changed, in one line: each kind, each action, and what is no change or is nobody's business. */
import t from 'tap';
import { recordKey } from '../../../protocols/base/records.ts';
import { SPEC_DEFAULTS, type WorkloadSpec } from '../../../protocols/base/workload.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import {
  describeChange,
  isTold,
  SUMMARY_LENGTH_MAX,
  workloadDifference,
} from '../../../protocols/view/change.ts';
import fc from '../../laws.ts';
import { memberGrant, NOW, testSigner, unsigned } from '../ledger/fixtures.ts';

const [a, b] = [testSigner(1).id, testSigner(2).id];
let last = 0;

function record(kind: string, key: string, body: unknown, changes: Partial<LedgerRecord> = {}): LedgerRecord {
  last += 1;
  const header = { cluster: '00', author: a, epoch: 0, seq: last, hlc: { ms: NOW + last, n: 0 }, kind, key };
  const digest = last.toString(16).padStart(64, '0');
  return { ...unsigned({ ...header, generation: 1, context: [] }, body, digest), ...changes };
}

const spec = (changes: Partial<WorkloadSpec> = {}): WorkloadSpec =>
  ({ ...structuredClone(SPEC_DEFAULTS), name: 'web', image: 'web:1', ...changes }) as WorkloadSpec;
const workload = (changes: Partial<WorkloadSpec> = {}, stopped = false) =>
  record('workload', 'default/web', { stopped, spec: spec(changes) }, { generation: 2 });
const told = (now: LedgerRecord, before?: LedgerRecord) => {
  const change = describeChange(now, before, () => [now]);
  return change && `${change.action}: ${change.summary}`;
};

t.test('a workload is told by what differs, and never by a value that may be secret', async (t) => {
  const before = workload();
  const cases: [LedgerRecord, string][] = [
    [workload({ replicas: 3 }), 'replicas 1 -> 3'],
    [workload({ image: 'web:2', restart: 'never' }), 'image web:1 -> web:2, restart always -> never'],
    [workload({}, true), 'stopped'],
    [
      workload({ resources: { cpu_millis: 200, memory_bytes: 128 << 20 } }),
      'resources.cpu_millis 100 -> 200',
    ],
    [workload({ env: { TOKEN: 'secret' } }), 'env +TOKEN'],
    [workload({ command: ['--password', 'secret'] }), 'command changed'],
    [workload({ ports: [{ name: 'http', port: 80 }] }), 'ports changed'],
    [workload({ constraints: { zone: 'a' } }), 'constraints.zone none -> a'],
    [workload(), 'the same again'],
  ];
  for (const [now, summary] of cases) t.equal(told(now, before), `updated: ${summary}`);
  const env = workload({ env: { A: '1', B: '2' } });
  t.equal(told(workload({ env: { B: '3', C: 'x' } }), env), 'updated: env -A ~B +C');
  t.equal(
    workloadDifference({ stopped: false, spec: spec({ replicas: 5 }) }, { stopped: true, spec: spec() }),
    'started, replicas 1 -> 5',
  );
});

t.test('what is first is created; what was replaced before it came here is updated', async (t) => {
  t.equal(
    told(record('workload', 'default/web', { stopped: false, spec: spec() })),
    'created: image web:1, replicas 1',
  );
  t.equal(told(workload({ kind: 'daemon' }, true)), 'updated: image web:1, one on every node, stopped');
  const deleted = record('workload', 'default/web', null, { generation: 3 });
  t.equal(told(deleted, workload()), 'deleted: was image web:1, replicas 1');
  t.equal(told(deleted), 'deleted: ');
  t.equal(told(workload(), deleted), 'created: image web:1, replicas 1');
});

t.test('each kind that people decide is told', async (t) => {
  const digest = (byte: string) => `sha256:${byte.repeat(32)}`;
  const tag = (byte: string) => record('tag', 'web:1', { digest: digest(byte) }, { generation: 2 });
  t.equal(told(tag('ab'), tag('cd')), 'updated: image cdcdcdcdcdcd -> abababababab');
  t.equal(told(tag('ab'), tag('ab')), undefined, 'pushed again');
  const blob = { digest: digest('ef'), size: 1, mediaType: 'x', infohash: null };
  const image = { manifest: blob, config: blob, layers: [blob], platform: 'linux/amd64' };
  t.equal(
    told(record('image', `${a}/${digest('ef')}`, image)),
    'created: efefefefefef, 1 layers, linux/amd64',
  );
  const intent = (value: string) => record('intent', b, { intent: value });
  t.equal(told(intent('draining'), intent('active')), 'updated: active -> draining');
  t.match(
    describeChange(intent('draining'), undefined, () => []),
    { subject: b, author: a, summary: 'draining' },
  );
  const grant = (changes: object) =>
    record('grant', recordKey.grant(b, a), memberGrant(b, changes), { hlc: { ms: NOW, n: 0 } });
  t.equal(told(grant({})), 'created: member, worker, deployer');
  t.equal(told(grant({ notAfter_ms: NOW + 3_600_000 })), 'created: member, worker, deployer, for 1h');
  const token = { roles: ['admit'], admits: ['member', 'admit'], uses: 2, notAfter_ms: NOW + 900_000 };
  t.equal(told(grant(token)), 'created: join token for 2 hosts as member, for 15m');
  const revoke = record('revoke', b, { subject: b, epoch: 0, last: 4, reason: 'stolen' });
  t.match(
    describeChange(revoke, undefined, () => []),
    { action: 'created', subject: b, summary: 'stolen' },
  );
  const genesis = { name: 'shop', operators: [a, b], range: '10.210.0.0/16', nonce: '00'.repeat(16) };
  t.equal(told(record('genesis', 'genesis', genesis)), 'created: cluster shop, operators: 2');
  t.match(
    describeChange(record('evidence', `${a}/${b}`, { x: 1 }), undefined, () => []),
    { subject: b },
  );
});

t.test('what nodes tell all the time is no change', async (t) => {
  const member = (incarnation: number, version = '1') =>
    record('member', a, {
      name: 'a',
      incarnation,
      addresses: [],
      doors: [],
      host: '192.0.2.1',
      labels: {},
      capacity: { cpu_millis: 1000, memory_bytes: 1 << 30 },
      subnet: null,
      driver: 'memory',
      version,
    });
  t.equal(told(member(1)), 'created: joined as a (192.0.2.1, 1)');
  t.equal(told(member(2), member(1)), undefined, 'a restart');
  t.equal(told(member(2, '2'), member(1)), 'updated: version 1 -> 2', 'an upgrade');
  for (const kind of ['alloc', 'verdict', 'ack', 'unheard-of']) {
    t.notOk(isTold(kind), kind);
    t.equal(told(record(kind, a, { any: 1 })), undefined, kind);
  }
});

t.test('a body that does not fit its kind is no change, whatever it is', async (t) => {
  const kinds = ['workload', 'tag', 'image', 'intent', 'grant', 'revoke', 'member'];
  const law = fc.property(fc.constantFrom(...kinds), fc.jsonValue(), fc.jsonValue(), (kind, now, before) => {
    const change = describeChange(record(kind, 'k', now), record(kind, 'k', before), () => []);
    return change === undefined || now === null;
  });
  t.doesNotThrow(() => fc.assert(law));
});

t.test('a summary has a length, and concurrent versions are counted', async (t) => {
  const env = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`NAME_${n}`, 'x']));
  const long = describeChange(workload({ env }), workload(), () => []);
  t.equal(long?.summary.length, SUMMARY_LENGTH_MAX);
  t.match(long?.summary, /…$/);
  const [one, other] = [workload(), workload({ replicas: 9 })];
  t.equal(describeChange(one, undefined, () => [one, other])?.concurrent, 1);
});
