/** The view of a ledger: what counts is seen, what does not fit or does not count is not, and what is equal is kept. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import {
  type AllocationBody,
  type ImageBody,
  type MemberBody,
  recordKey,
} from '../../../protocols/base/records.ts';
import { SPEC_DEFAULTS } from '../../../protocols/base/workload.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { sealRecord } from '../../../protocols/ledger/record.ts';
import { bodyOf } from '../../../protocols/view/bodies.ts';
import { deriveView, type ViewSource } from '../../../protocols/view/derive.ts';
import { genesis, memberGrant, NOW, operator, testSigner, write } from '../ledger/fixtures.ts';

const [a, b] = [testSigner(1), testSigner(2)];

function memberBody(name: string, changes: Partial<MemberBody> = {}): MemberBody {
  return {
    name,
    incarnation: 1,
    addresses: [],
    doors: [],
    host: '192.0.2.1',
    labels: { zone: 'north' },
    capacity: { cpu_millis: 1000, memory_bytes: 1 << 30 },
    subnet: null,
    driver: 'memory',
    version: '1',
    ...changes,
  };
}

function allocation(node: Signer, changes: Partial<AllocationBody> = {}): AllocationBody {
  return {
    node: node.id,
    namespace: 'default',
    workload: 'web',
    index: 0,
    generation: 1,
    revision: 'ab'.repeat(32),
    attempt: 1,
    phase: 'running',
    health: 'healthy',
    address: null,
    ports: {},
    resources: SPEC_DEFAULTS.resources,
    since_ms: NOW,
    until_ms: null,
    reason: null,
    exitCode: null,
    restarts: 0,
    ...changes,
  };
}

function image(digest: `sha256:${string}`): ImageBody {
  const blob = { digest, size: 1, mediaType: 'x', infohash: null };
  return { manifest: blob, config: blob, layers: [], platform: 'linux/amd64' };
}

function stage() {
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [a, b, operator] });
  for (const node of [a, b]) {
    write(machine, operator.id, 'grant', recordKey.grant(node.id, operator.id), memberGrant(node.id));
    write(machine, node.id, 'member', node.id, memberBody(node === a ? 'a' : 'b'));
  }
  const source: ViewSource = {
    ledger: machine.ledger,
    authority: machine.authority,
    now: NOW,
    self: a.id,
    status: (id) => (id === a.id ? 'alive' : 'suspect'),
  };
  return { machine, source, view: () => deriveView(source, undefined, new Set()) };
}

const web = { stopped: false, spec: { ...SPEC_DEFAULTS, name: 'web', image: 'web:1' } };

t.test('members have their status, intent, roles, and their name as a label', async (t) => {
  const { machine, view } = stage();
  write(machine, a.id, 'intent', b.id, { intent: 'draining' });
  const { members } = view();
  t.match(members.get(a.id), { name: 'a', status: 'alive', intent: 'active', worker: true });
  t.same(members.get(a.id)?.labels, { zone: 'north', name: 'a' });
  t.match(members.get(b.id), { status: 'suspect', intent: 'draining' });
});

t.test('a body that does not fit its kind is seen by nobody, and harms nothing', async (t) => {
  const { machine, view } = stage();
  write(machine, a.id, 'member', a.id, { ...memberBody('a'), capacity: { cpu_millis: 0, memory_bytes: 1 } });
  write(machine, a.id, 'workload', 'default/web', { stopped: false, spec: { name: 'web' } });
  write(machine, a.id, 'tag', 'web:1', { digest: 'sha256:short' });
  write(machine, a.id, 'alloc', recordKey.alloc(a.id, 'default/web/0'), {
    ...allocation(a),
    phase: 'dreaming',
  });
  const { members, workloads, tags, allocations } = view();
  t.same([...members.keys()], [b.id]);
  t.equal(workloads.size + tags.size + allocations.length, 0);
});

t.test('a record whose key is not that of its body is not seen', async (t) => {
  const { machine, view } = stage();
  write(machine, a.id, 'workload', 'default/other', web);
  write(machine, a.id, 'alloc', recordKey.alloc(a.id, 'default/web/1'), allocation(a));
  const digest = `sha256:${'cd'.repeat(32)}` as const;
  write(machine, a.id, 'image', recordKey.image(a.id, `sha256:${'ef'.repeat(32)}`), image(digest));
  const { workloads, allocations, images } = view();
  t.equal(workloads.size + allocations.length + images.size, 0);
});

t.test('a removed workload is not seen; a new one after it is', async (t) => {
  const { machine, view } = stage();
  write(machine, a.id, 'workload', 'default/web', web);
  t.match(view().workloads.get('default/web'), { generation: 1, author: a.id, siblings: [] });
  write(machine, a.id, 'workload', 'default/web', null);
  t.equal(view().workloads.size, 0);
  write(machine, b.id, 'workload', 'default/web', web);
  t.match(view().workloads.get('default/web'), { generation: 3, author: b.id });
});

t.test('an image that two imported is that of the smaller author, and names both', async (t) => {
  const { machine, view } = stage();
  const digest = `sha256:${'cd'.repeat(32)}` as const;
  for (const { id } of [b, a]) write(machine, id, 'image', recordKey.image(id, digest), image(digest));
  const seen = view().images.get(digest)!;
  t.same(seen.authors, [a.id, b.id].sort());
  t.equal(seen.author, seen.authors[0]);
});

t.test('only kinds that changed are derived again; a grant changes all', async (t) => {
  const { machine, source, view } = stage();
  write(machine, a.id, 'workload', 'default/web', web);
  const before = view();
  write(machine, a.id, 'tag', 'web:1', { digest: `sha256:${'cd'.repeat(32)}` });
  const after = deriveView(source, before, new Set(['tag']));
  t.equal(after.members, before.members);
  t.equal(after.workloads, before.workloads);
  t.equal(after.allocations, before.allocations);
  t.equal(after.tags.size, 1);
  const all = deriveView(source, after, new Set(['grant']));
  for (const part of ['members', 'workloads', 'allocations', 'images', 'tags'] as const) {
    t.not(all[part], after[part], part);
    t.same(all[part], after[part], part);
  }
  t.equal(deriveView(source, after, new Set(['verdict'])).workloads, after.workloads);
});

t.test('a body is read by its own kind only, a tombstone by none', async (t) => {
  const record = (kind: string, body: unknown) =>
    sealRecord(
      {
        cluster: genesis.digest,
        author: a.id,
        epoch: 0,
        seq: 1,
        hlc: { ms: NOW, n: 0 },
        kind,
        key: 'k',
        generation: 1,
        context: [],
      },
      body,
      a,
      nodeCrypto,
    );
  t.same(bodyOf('intent', record('intent', { intent: 'active' })), { intent: 'active' });
  t.match(
    bodyOf('intent', record('intent', { intent: 'active', later: 1 })),
    { intent: 'active' },
    'unknown fields',
  );
  t.equal(bodyOf('intent', record('tag', { intent: 'active' })), undefined);
  t.equal(bodyOf('intent', record('intent', { intent: 'asleep' })), undefined);
  t.equal(bodyOf('intent', record('intent', null)), undefined);
});

t.test(
  'a record that makes it throw is left out and reported; one in quarantine gives way to its sibling',
  async (t) => {
    const { machine } = stage();
    write(machine, a.id, 'intent', a.id, { intent: 'draining' });
    const authority = new Proxy(machine.authority, {
      get(target, name) {
        if (name === 'roles')
          return (key: string) => {
            if (key === b.id) throw new TypeError('a defect');
            return target.roles(key);
          };
        const value = Reflect.get(target, name) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const struck: string[] = [];
    const held = new Set<string>();
    const source: ViewSource = {
      ledger: machine.ledger,
      authority,
      self: a.id,
      status: () => 'alive',
      now: NOW,
      quarantine: {
        has: ({ digest }) => held.has(digest),
        strike: ({ kind, key }) => struck.push(`${kind}/${key}`),
      },
    };
    const view = deriveView(source, undefined, new Set());
    t.same([...view.members.keys()], [a.id]);
    t.same(struck, [`member/${b.id}`]);
    const { quarantine: _, ...unguarded } = source;
    t.throws(() => deriveView(unguarded, undefined, new Set()), TypeError);
    held.add(machine.ledger.get('intent', a.id)!.digest);
    t.equal(deriveView(source, undefined, new Set()).members.get(a.id)!.intent, 'active');
  },
);
