import t from 'tap';
import { Contacts, type ContactsInit } from '../../daemon/contacts.ts';
import type { StoreBatch } from '../../daemon/store/state-store.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { type MemberBody, recordKey } from '../../protocols/base/records.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import type { MemberStatus, MemberView } from '../../protocols/view/view.ts';
import {
  cluster,
  introduce,
  NOW,
  newNode,
  operator,
  type TestNode,
  testSigner,
  write,
} from '../protocols/ledger/fixtures.ts';

/** Who stands where is by id: the least is first. */
const [least, middle, greatest] = cluster(3).sort((a, b) => (a.signer.id < b.signer.id ? -1 : 1)) as [
  TestNode,
  TestNode,
  TestNode,
];
const stranger = testSigner(77).id;

interface World {
  readonly contacts: Contacts;
  readonly mesh: Mesh;
  readonly peers: NodeId[];
  readonly dialled: NodeId[];
  /** With which addresses, last. */
  readonly dialledAt: Map<NodeId, readonly string[]>;
  readonly members: Map<NodeId, MemberView>;
  readonly stored: string[];
}

function memberView(id: NodeId, status: MemberStatus, addresses: readonly string[] = []): MemberView {
  return { id, status, addresses } as MemberView;
}

function contactsOf({ signer, machine }: TestNode, init: Partial<ContactsInit> = {}): World {
  const dialled: NodeId[] = [];
  const dialledAt = new Map<NodeId, readonly string[]>();
  const peers: NodeId[] = [];
  const stored: string[] = [];
  const members = new Map<NodeId, MemberView>();
  const mesh = {
    peers: () => peers,
    connect: async (peer: NodeId, addresses: readonly string[]) => {
      dialled.push(peer);
      dialledAt.set(peer, addresses);
    },
  } as unknown as Mesh;
  const contacts = new Contacts({
    self: signer.id,
    machine,
    store: { isIncomplete: false, setComplete: () => stored.push('complete') } as never,
    // Time that passes only when somebody waits for it.
    clock: clockOf(NOW),
    log: () => undefined,
    welcomed: [],
    members: () => members,
    ...init,
  });
  return { contacts, mesh, peers, dialled, dialledAt, members, stored };
}

/** Of a disk that has lost records. @param values those that are kept on it. */
function lossyStore(values = new Map<string, string>(), stored: string[] = []): ContactsInit['store'] {
  return {
    isIncomplete: true,
    setComplete: () => stored.push('complete'),
    value: (name: string) => values.get(name),
    write: (batch: StoreBatch) => {
      for (const [name, value] of batch.values ?? []) values.set(name, value);
    },
    remove: (names: readonly string[]) => {
      for (const name of names) values.delete(name);
    },
  } as never;
}

function clockOf(start_ms: number): ContactsInit['clock'] {
  let now = start_ms;
  return {
    now: () => now,
    random: () => 0.5,
    after(delay_ms, action) {
      const immediate = setImmediate(() => {
        now += delay_ms;
        action();
      });
      return () => clearImmediate(immediate);
    },
  };
}

t.test('while nobody is there, those are dialled that membership does not know', async (t) => {
  const welcomed = [least, middle, greatest].map(({ signer }) => ({ id: signer.id, addresses: ['/a'] }));
  const { contacts, mesh, peers, dialled, members } = contactsOf(middle, { welcomed });
  contacts.seek(mesh);
  t.same(dialled.splice(0).sort(), [least.signer.id, greatest.signer.id].sort());
  members.set(least.signer.id, memberView(least.signer.id, 'failed'));
  contacts.seek(mesh);
  t.same(dialled.splice(0), [greatest.signer.id], 'membership dials the other');
  peers.push(least.signer.id);
  contacts.seek(mesh);
  t.same(dialled, [], 'somebody is there');
});

t.test('of very many that are known only a few are dialled at a time', async (t) => {
  const welcomed = Array.from({ length: 100 }, (_, at) => ({
    id: testSigner(200 + at).id,
    addresses: ['/a'],
  }));
  const { contacts, mesh, dialled } = contactsOf(middle, { welcomed });
  contacts.seek(mesh);
  t.equal(dialled.length, 8);
});

t.test('who is seen on the network is dialled by the lesser id, and by any when it was lost', async (t) => {
  const { contacts, mesh, dialled, members, peers } = contactsOf(middle);
  contacts.discovered(mesh, greatest.signer.id, ['/a']);
  t.same(dialled.splice(0), [greatest.signer.id]);
  contacts.discovered(mesh, least.signer.id, ['/b']);
  t.same(dialled, [], 'it will dial here');
  t.same(contacts.addressesOf(least.signer.id), ['/b']);
  members.set(least.signer.id, memberView(least.signer.id, 'failed', ['/old']));
  contacts.discovered(mesh, least.signer.id, ['/new']);
  t.same(dialled.splice(0), [least.signer.id], 'its old address may be all that it knows of this node');
  t.same(contacts.addressesOf(least.signer.id), ['/old', '/new']);
  peers.push(greatest.signer.id);
  contacts.discovered(mesh, greatest.signer.id, ['/c']);
  t.same(dialled, [], 'it is connected');
  contacts.discovered(mesh, stranger, ['/d']);
  t.same(dialled, []);
  t.same(contacts.addressesOf(stranger), []);
});

t.test('what anybody says on the network neither replaces nor delays what members have told', async (t) => {
  const { id } = greatest.signer;
  const welcomed = [{ id, addresses: ['/welcome'] }];
  const { contacts, mesh, dialledAt, members } = contactsOf(middle, { welcomed });
  const many = (name: string) => Array.from({ length: 25 }, (_, at) => `/${name}/${at}`);
  contacts.discovered(mesh, id, [...many('dead'), '/welcome']);
  t.same(contacts.addressesOf(id), ['/welcome', ...many('dead').slice(0, 4)]);
  t.same(dialledAt.get(id), contacts.addressesOf(id));
  members.set(id, memberView(id, 'failed', ['/told']));
  contacts.discovered(mesh, id, ['/told', ...many('other')]);
  const all = ['/told', '/welcome', ...many('other').slice(0, 4)];
  t.same(contacts.addressesOf(id), all, 'what was said last counts, beside what was told');
  t.same(dialledAt.get(id), all);
  members.clear();
  dialledAt.clear();
  contacts.seek(mesh);
  t.same(dialledAt.get(id), all.slice(1));
});

/** What `node` is left with when its disk loses all grants, and nothing else. */
function withoutGrants({ signer, machine }: TestNode): TestNode {
  const lossy = newNode(signer);
  for (const record of machine.ledger.records())
    if (record.kind !== 'grant') lossy.machine.ledger.merge(record, lossy.machine.ledger.find(record));
  return lossy;
}

/** Three nodes that hold one another's member records. */
function acquainted(): [TestNode, TestNode, TestNode] {
  const nodes = cluster(3) as [TestNode, TestNode, TestNode];
  const records = nodes.map(({ signer, machine }) =>
    write(machine, signer.id, 'member', recordKey.member(signer.id), MEMBER),
  );
  for (const { machine } of nodes) introduce(machine, records);
  return nodes;
}

const MEMBER: MemberBody = {
  name: 'host',
  incarnation: 1,
  addresses: ['/kept'],
  doors: [],
  host: '127.0.0.1',
  labels: {},
  capacity: { cpu_millis: 1000, memory_bytes: 1 << 30 },
  subnet: null,
  driver: 'memory',
  version: '0.0.0',
};

t.test('a disk that lost grants: whoever it knows a member record of may bring them', async (t) => {
  const [own, other, third] = acquainted();
  const lossy = withoutGrants(own);
  t.notOk(lossy.machine.authority.isMember(other.signer.id));
  t.notOk(contactsOf(lossy).contacts.isAdmitted(other.signer.id), 'on a disk that is whole they count');

  const stored: string[] = [];
  const store = lossyStore(new Map(), stored);
  const { contacts, mesh, dialled } = contactsOf(lossy, { store });
  t.ok(contacts.isAdmitted(other.signer.id));
  t.notOk(contacts.isAdmitted(stranger));
  await contacts.meet(mesh, AbortSignal.timeout(10_000));
  t.same(dialled.sort(), [other.signer.id, third.signer.id].sort(), 'where that disk says that they were');
  t.same(contacts.addressesOf(other.signer.id), ['/kept']);
  t.notOk(contacts.endReseeding(true), 'nobody has brought anything yet');
  contacts.compared(other.signer.id);
  t.notOk(contacts.endReseeding(true), 'who holds as little is no help');
  t.ok(contacts.isAdmitted(third.signer.id));
  introduce(lossy.machine, [...own.machine.ledger.recordsOf(operator.id)]);
  t.ok(contacts.isAdmitted(third.signer.id), 'and a third may hold more');
  contacts.compared(other.signer.id);
  await Promise.resolve();
  t.same(stored, []);
  t.ok(contacts.endReseeding(true));
  t.notOk(contacts.endReseeding(true), 'once');
  await Promise.resolve();
  t.same(stored, ['complete']);
  t.ok(contacts.isAdmitted(other.signer.id), 'for its grant');
});

t.test('a disk that lost records waits for all that a member holds, and not for ever', async (t) => {
  for (const isHelped of [true, false]) {
    const [own, other] = acquainted();
    const store = lossyStore();
    const clock = clockOf(NOW);
    const { contacts, mesh, peers } = contactsOf(own, { store, clock });
    peers.push(other.signer.id);
    let isOver = false;
    const met = contacts.meet(mesh, AbortSignal.timeout(10_000)).then(() => {
      isOver = true;
    });
    while (clock.now() < NOW + 5000) await new Promise(setImmediate);
    t.notOk(isOver, 'somebody is there, and has not told all');
    if (isHelped) contacts.compared(other.signer.id);
    await met;
    t.equal(clock.now() < NOW + 15_000, isHelped);
    t.ok(clock.now() < NOW + 16_000);
    t.ok(contacts.isReseeding);
    t.equal(contacts.endReseeding(true), isHelped);
    t.equal(contacts.isReseeding, !isHelped);
  }
});

t.test('who was let in since has nothing to bring of what a disk has lost', async (t) => {
  const [own, other] = acquainted();
  const all = [...own.machine.ledger.records()].filter(({ kind }) => kind !== 'genesis');
  const values = new Map<string, string>();
  const lone = newNode(own.signer);
  const before = contactsOf(lone, { store: lossyStore(values), welcomed: [] });
  await before.contacts.meet(before.mesh, AbortSignal.timeout(10_000));
  introduce(lone.machine, all);
  before.contacts.compared(other.signer.id);
  t.notOk(before.contacts.endReseeding(true), 'nothing said before that it was there');

  const after = contactsOf(own, { store: lossyStore(new Map(values)) });
  await after.contacts.meet(after.mesh, AbortSignal.timeout(10_000));
  after.contacts.compared(other.signer.id);
  t.notOk(after.contacts.endReseeding(true), 'nor does the next start take it for one that was');

  values.clear();
  const { contacts, mesh } = contactsOf(own, { store: lossyStore(values) });
  await contacts.meet(mesh, AbortSignal.timeout(10_000));
  contacts.compared(other.signer.id);
  const known = [...values];
  t.ok(contacts.endReseeding(true), 'its member record did');
  t.same([...values], [], 'another loss may have other witnesses');

  const later = contactsOf(own, { store: lossyStore(new Map(known)) });
  await later.contacts.meet(later.mesh, AbortSignal.timeout(10_000));
  later.contacts.compared(other.signer.id);
  t.ok(later.contacts.endReseeding(true), 'nor does a restart forget that');

  const newer = contactsOf(own, { store: lossyStore(new Map([['witnesses', '[]']])) });
  await newer.contacts.meet(newer.mesh, AbortSignal.timeout(10_000));
  newer.contacts.compared(other.signer.id);
  t.same(newer.dialled, [], 'membership dials it');
  t.notOk(newer.contacts.endReseeding(true), 'it came after the loss was found');
});

t.test('a disk that does not take it that it is whole is told again', async (t) => {
  const [own, other] = acquainted();
  const stored: string[] = [];
  let isFull = true;
  const store = {
    ...lossyStore(new Map(), stored),
    remove: () => {
      if (isFull) throw new Error('the disk is full');
    },
  } as never;
  const { contacts } = contactsOf(own, { store });
  contacts.compared(other.signer.id);
  t.ok(contacts.endReseeding(true));
  await new Promise(setImmediate);
  isFull = false;
  t.notOk(contacts.endReseeding(true));
  await new Promise(setImmediate);
  t.same(stored, ['complete']);
});

t.test('who was revoked brings nothing, whatever a damaged disk remembers of it', async (t) => {
  const nodes = acquainted();
  const [judge, other, offender] = nodes;
  const subject = offender.signer.id;
  const revocation = { subject, epoch: 9, last: 99, reason: 'stolen' };
  write(judge.machine, operator.id, 'revoke', recordKey.revoke(subject, operator.id), revocation);
  const store = lossyStore();
  for (const node of [judge, withoutGrants(judge)]) {
    const { contacts } = contactsOf(node, { store });
    t.ok(node.machine.ledger.get('member', subject), 'its member record is still there');
    t.notOk(contacts.isAdmitted(subject));
    t.ok(contacts.isAdmitted(other.signer.id));
  }
});

t.test('who was revoked is asked at its door all the same, for a thief may have written that', async (t) => {
  const [own, other] = acquainted();
  const id = other.signer.id;
  const revocation = { subject: id, epoch: 9, last: 99, reason: 'theft' };
  write(own.machine, operator.id, 'revoke', recordKey.revoke(id, operator.id), revocation);
  const welcomed = [{ id, addresses: ['/a'], doors: ['/door'] }];
  const { contacts, mesh } = contactsOf(withoutGrants(own), { welcomed, store: lossyStore() });
  t.notOk(contacts.isAdmitted(id));
  t.same(contacts.unlisted(), [{ id, addresses: ['/a'], doors: ['/door'] }]);
  const stopping = new AbortController();
  const asked: NodeId[] = [];
  await contacts.outwait(mesh, stopping.signal, async (members) => {
    asked.push(...members.map((member) => member.id));
    stopping.abort();
  });
  t.same(asked, [id]);
});

t.test(
  'who was revoked is waited for while that counts for nothing, and else asked for a while',
  async (t) => {
    const [own, other] = acquainted();
    const id = other.signer.id;
    const revocation = { subject: id, epoch: 9, last: 99, reason: 'theft' };
    const written = write(own.machine, operator.id, 'revoke', recordKey.revoke(id, operator.id), revocation);
    const looksOf = (counts: boolean, doors: readonly string[]) => {
      const lossy = withoutGrants(own);
      if (counts) lossy.machine.authority.add(written);
      const welcomed = [{ id, name: 'other', addresses: ['/a'], doors }];
      const { contacts } = contactsOf(lossy, { welcomed, store: lossyStore() });
      t.notOk(contacts.isAdmitted(id));
      t.same(
        contacts.remembered.map(({ name }) => name),
        counts ? [] : ['other'],
      );
      for (let looks = 0; looks < 1000; looks += 1) if (contacts.endReseeding(false)) return looks;
      return Number.POSITIVE_INFINITY;
    };
    t.equal(looksOf(false, []), Number.POSITIVE_INFINITY);
    t.equal(looksOf(true, []), 0);
    t.equal(looksOf(true, ['/door']), 100);
  },
);

t.test('nobody is waited for where nobody is known, and not for ever where somebody is', async (t) => {
  const alone = contactsOf(middle);
  await alone.contacts.meet(alone.mesh, AbortSignal.timeout(10_000));
  t.same(alone.dialled, []);
  const clock = clockOf(NOW);
  const known = contactsOf(middle, { clock, welcomed: [{ id: least.signer.id, addresses: ['/a'] }] });
  await known.contacts.meet(known.mesh, AbortSignal.timeout(10_000));
  t.same(known.dialled, [least.signer.id]);
  t.ok(clock.now() >= NOW + 3000, 'waited for it');
  t.ok(clock.now() < NOW + 5000, 'and went on without it');
});

t.test(
  'a clock that is set while somebody is waited for neither ends the wait nor draws it out',
  async (t) => {
    for (const leap_ms of [3_600_000, -3_600_000]) {
      const clock = clockOf(NOW);
      let looks = 0;
      const leaping: ContactsInit['clock'] = {
        ...clock,
        now: () => clock.now() + (looks > 10 ? leap_ms : 0),
        after(delay_ms, action) {
          looks += 1;
          return clock.after(delay_ms, action);
        },
      };
      const welcomed = [{ id: least.signer.id, addresses: ['/a'] }];
      const { contacts, mesh } = contactsOf(middle, { clock: leaping, welcomed });
      await contacts.meet(mesh, AbortSignal.timeout(10_000));
      t.equal(clock.now(), NOW + 3000, `by ${leap_ms} ms`);
    }
  },
);

/** A store that takes values, and what it was given. */
function keepingStore(isIncomplete = false) {
  const written: string[][] = [];
  const write = ({ values: [[name, text]] }: { values: [[string, string]] }) =>
    name === 'contacts' && written.push((JSON.parse(text) as { id: NodeId }[]).map(({ id }) => id));
  return { written, store: { isIncomplete, write, value: () => undefined } as never };
}

t.test('where members are is kept, of a few, when that changes, and not again and again', async (t) => {
  const clock = clockOf(NOW);
  const { written, store } = keepingStore();
  const { contacts, members } = contactsOf(middle, { clock, store });
  contacts.keep();
  t.same(written, [], 'nobody is known');
  members.set(middle.signer.id, memberView(middle.signer.id, 'alive'));
  members.set(least.signer.id, memberView(least.signer.id, 'alive', ['/a']));
  contacts.keep();
  contacts.keep();
  t.same(written.splice(0), [[least.signer.id]]);
  members.set(least.signer.id, memberView(least.signer.id, 'alive', ['/b']));
  contacts.keep();
  t.same(written, [], 'not so soon');
  await new Promise<void>((resolve) => clock.after(300_000, resolve));
  contacts.keep();
  t.same(written.splice(0), [[least.signer.id]]);
  members.delete(least.signer.id);
  members.set(greatest.signer.id, memberView(greatest.signer.id, 'alive', ['/c']));
  contacts.keep();
  t.same(written.splice(0), [[greatest.signer.id]], 'who is a member no more is forgotten at once');
  members.clear();
  contacts.keep();
  t.same(written, [], 'whom to dial is known, though all grants may have ended by a clock that leapt');
});

t.test('of many members those are kept that are alive, and that were kept before', (t) => {
  const ids = Array.from({ length: 100 }, (_, at) => testSigner(200 + at).id);
  const { written, store } = keepingStore();
  const welcomed = ids.slice(50, 60).map((id) => ({ id, addresses: ['/a'] }));
  const { contacts, members } = contactsOf(middle, { store, welcomed });
  for (const [at, id] of ids.entries()) members.set(id, memberView(id, at < 50 ? 'failed' : 'alive'));
  contacts.keep();
  t.equal(written[0]?.length, 32);
  t.ok(welcomed.every(({ id }) => written[0]!.includes(id)));
  t.notOk(ids.slice(0, 50).some((id) => written[0]!.includes(id)));
  t.end();
});

t.test('whom a disk remembers may bring what it lost, and nobody else may', async (t) => {
  const [own, other] = acquainted();
  const empty = newNode(own.signer);
  const welcomed = [{ id: other.signer.id, addresses: ['/a'], doors: ['/door'] }];
  const whole = contactsOf(empty, { welcomed });
  t.notOk(whole.contacts.isAdmitted(other.signer.id), 'on a disk that is whole grants count');
  const { written, store } = keepingStore(true);
  const { contacts, mesh, dialled, members } = contactsOf(empty, { welcomed, store });
  t.ok(contacts.isAdmitted(other.signer.id));
  contacts.add({ id: stranger, addresses: ['/s'] });
  t.notOk(contacts.isAdmitted(stranger), 'whom another names is no member for that');
  const third = testSigner(55).id;
  members.set(third, memberView(third, 'alive'));
  contacts.keep();
  t.same(written, [], 'what is left of the view is not kept over what was whole');
  const isDialled = () => dialled.filter((id) => id === other.signer.id).length;
  const stopping = new AbortController();
  const asked: NodeId[][] = [];
  const wait = contacts.outwait(mesh, stopping.signal, async (members) => {
    asked.push(members.map(({ id }) => id));
  });
  while (isDialled() < 5) await new Promise(setImmediate);
  let isOver = false;
  const ended = wait.then(() => {
    isOver = true;
  });
  t.notOk(isOver);
  t.same(asked, [[other.signer.id]], 'at its door, which is open to whom it does not let in, now and then');
  introduce(empty.machine, [...own.machine.ledger.recordsOf(operator.id)]);
  contacts.compared(other.signer.id);
  await ended;
  t.ok(isOver, 'it ends once what makes it a member is there');
});

t.test(
  'a door may tell how a node stands before anybody is there: the others are dialled until one is',
  async (t) => {
    const [own, other] = acquainted();
    const welcomed = [{ id: other.signer.id, addresses: ['/a'], doors: ['/door'] }];
    const { contacts, mesh, dialled } = contactsOf(own, { welcomed, store: keepingStore(true).store });
    await contacts.outwait(mesh, new AbortController().signal, async () => {});
    t.same(dialled, Array(3).fill(other.signer.id));
  },
);
