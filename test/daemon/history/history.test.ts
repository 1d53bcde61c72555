/** What a node has seen change: kept with the records, asked by filters, followed as it comes, and bounded. */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { systemClock } from '../../../daemon/clock.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { History } from '../../../daemon/history/history.ts';
import {
  HISTORY_ENTRIES_MAX,
  type HistoryEntry,
  historyEntries,
} from '../../../daemon/history/history-entry.ts';
import { HistoryShares } from '../../../daemon/history/history-shares.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import fc from '../../laws.ts';
import { genesis, memberGrant, NOW, operator, write } from '../../protocols/ledger/fixtures.ts';
import { temporaryDirectory } from '../api/api-fixture.ts';
import { memoryDirectory } from '../store/memory-directory.ts';

const [A, B] = [`${'A'.repeat(44)}11111111`, `${'B'.repeat(44)}22222222`];
let last = 0;

function entry(changes: Partial<HistoryEntry> = {}): HistoryEntry {
  last += 1;
  return {
    digest: last.toString(16).padStart(64, '0'),
    kind: 'workload',
    key: 'default/web',
    generation: last,
    author: A,
    authorName: 'a-then',
    subject: null,
    subjectName: null,
    stamp: { ms: NOW + last, n: 0 },
    applied_ms: NOW + 1000,
    action: 'updated',
    summary: String(last),
    concurrent: 0,
    ...changes,
  };
}

async function stage(t: Test, names: Readonly<Record<string, string>> = {}) {
  const store = new StateStore(path.join(await temporaryDirectory(t), 'state.db'), nodeCrypto);
  t.teardown(() => store.close());
  const history = new History({
    store,
    clock: systemClock,
    names: () => (key) => names[key],
    isNamed: (text) => Object.values(names).includes(text),
    counting: () => () => true,
  });
  const add = (...entries: HistoryEntry[]) =>
    store.write({ put: [], remove: [], streams: [], history: entries });
  return { store, history, add };
}

t.test('the latest by stamp come last, however they came here', async (t) => {
  const { history, add } = await stage(t);
  const [first, second, third] = [entry(), entry(), entry()];
  add(third);
  add(first, second, third);
  const summaries = (limit?: number) =>
    history.latest(limit === undefined ? {} : { limit }).map(({ summary }) => summary);
  t.same(
    summaries(),
    [first, second, third].map(({ summary }) => summary),
    'each once',
  );
  t.same(
    summaries(2),
    [second, third].map(({ summary }) => summary),
  );
  t.same(summaries(0), []);
});

t.test('filters go by time, kind, key and who, by today’s names or those of then', async (t) => {
  const { history, add } = await stage(t, { [A]: 'a-now' });
  const web = entry({ applied_ms: NOW });
  const cordon = entry({
    kind: 'intent',
    key: B,
    subject: B,
    subjectName: 'b-then',
    author: B,
    authorName: null,
  });
  add(web, cordon);
  const found = (query: Parameters<typeof history.latest>[0]) =>
    history.latest(query).map(({ revision }) => (revision === web.digest ? 'web' : 'cordon'));
  t.same(found({ since_ms: cordon.stamp.ms }), ['cordon']);
  t.same(found({ kind: 'workload' }), ['web']);
  t.same(found({ key: 'default/web' }), ['web']);
  t.same(found({ key: 'web' }), ['web']);
  t.same(found({ key: 'eb' }), [], 'no part of a name');
  t.same(found({ key: 'b-then' }), ['cordon']);
  t.same(found({ key: '22222222' }), ['cordon']);
  t.same(found({ by: 'a-now' }), ['web']);
  t.throws(() => found({ by: 'a-then' }), { code: 'E_NOT_FOUND' }, 'it is called something else now');
  t.same(found({ by: B }), ['cordon']);
  t.same(found({ by: '11111111', kind: 'intent' }), []);
  t.match(history.latest({ kind: 'intent' }), [{ authorName: '22222222', subjectName: 'b-then' }]);
});

t.test('who is nobody is told from who has changed nothing', async (t) => {
  const { history, add } = await stage(t, { [B]: 'b-now' });
  add(entry({ author: A, authorName: 'a-then', kind: 'workload' }));
  t.same(history.latest({ by: 'b-now' }), []);
  t.same(history.latest({ by: 'a-then', kind: 'tag' }), [], 'one who is known by a line only');
  t.throws(() => history.latest({ by: 'nobody' }), { code: 'E_NOT_FOUND', message: /nobody/ });
  const { signal } = new AbortController();
  t.throws(() => history.follow({ by: 'nobody' }, signal), { code: 'E_NOT_FOUND' });
  t.doesNotThrow(() => history.follow({ by: 'b-now' }, signal));
});

t.test('an old date puts nothing out of sight: what came late stands where it came', async (t) => {
  const { history, add } = await stage(t);
  const hour = 3_600_000;
  const at = (ms: number, applied_ms = ms) => entry({ stamp: { ms, n: 0 }, applied_ms });
  const [first, second, last] = [at(NOW - 3 * hour), at(NOW - 2 * hour), at(NOW)];
  const forged = at(NOW - 90 * hour, NOW - hour);
  const together = [at(NOW - 80 * hour, NOW - hour + 5), at(NOW - 70 * hour, NOW - hour + 1)];
  add(first, forged, last, ...together, second);
  const found = (query: Parameters<typeof history.latest>[0]) =>
    history.latest(query).map(({ revision }) => revision);
  const late = [forged, ...together].map(({ digest }) => digest);
  t.same(found({}), [first.digest, second.digest, ...late, last.digest]);
  t.same(found({ since_ms: NOW - hour }), [...late, last.digest], 'new by either clock');
  t.same(found({ limit: 2 }), [late[2], last.digest]);
});

t.test('a follower gets the past, then each change once, as it comes', async (t) => {
  const { history, add } = await stage(t);
  add(entry({ summary: 'before' }), entry({ summary: 'last before' }));
  const end = new AbortController();
  const seen: string[] = [];
  const alive = setInterval(() => {}, 1000);
  for await (const { summary } of history.follow({ limit: 1 }, end.signal)) {
    seen.push(summary);
    if (summary === 'last before')
      add(entry({ summary: 'elsewhere', stamp: { ms: 1, n: 0 } }), entry({ summary: 'new' }));
    if (summary === 'new') end.abort();
  }
  clearInterval(alive);
  t.same(seen, ['last before', 'elsewhere', 'new'], 'an old stamp that comes late is news here');
});

t.test('a follower goes on when the file is begun anew while it is used', async (t) => {
  const { store, history, add } = await stage(t);
  add(...Array.from({ length: 5 }, () => entry({ summary: 'before' })));
  const end = new AbortController();
  const seen: string[] = [];
  const alive = setInterval(() => {}, 1000);
  const polls = 5;
  const ask = store.history.bind(store);
  let asked = 0;
  store.history = (query) => {
    // It would ask in vain for ever.
    if (!query.latestFirst && ++asked > polls) end.abort();
    return ask(query);
  };
  for await (const { summary } of history.follow({ limit: 1 }, end.signal)) {
    seen.push(summary);
    if (summary === 'before') {
      store.replace([]);
      add(entry({ summary: 'first' }));
      store.replace([]);
      store.clear();
      store.replace([]);
      add(entry({ summary: 'second' }));
    }
    if (summary === 'second') end.abort();
  }
  clearInterval(alive);
  t.same(seen, ['before', 'second'], 'what is in the file is told');
  t.not(history.lost_ms, null, 'and that lines were lost');
  add(entry({ summary: 'third' }));
  t.equal(store.historyEnd(), 8, 'no number is given twice');
});

t.test('beyond its cap the oldest lines go', async (t) => {
  const { store, add } = await stage(t);
  const entries = Array.from({ length: HISTORY_ENTRIES_MAX + 10 }, () => entry());
  add(...entries.slice(0, 100));
  add(...entries.slice(100));
  const kept = [...store.history({ latestFirst: false, after: 0 })];
  t.equal(kept.length, HISTORY_ENTRIES_MAX);
  t.equal(kept[0]?.entry.digest, entries[10]?.digest);
  t.equal(store.historyEnd(), kept.at(-1)?.number);
  store.clear();
  t.same([...store.history({ latestFirst: true, since_ms: 0 })], []);
});

t.test('one busy author pushes out its own lines, also after a restart, and nobody else’s', async (t) => {
  const file = path.join(await temporaryDirectory(t), 'state.db');
  const open = () => new StateStore(file, nodeCrypto);
  const put = (store: StateStore, history: HistoryEntry[]) =>
    store.write({ put: [], remove: [], streams: [], history });
  const store = open();
  const quiet = [entry({ author: B }), entry({ author: B })];
  put(store, quiet);
  const busy = Array.from({ length: HISTORY_ENTRIES_MAX - 1 }, () => entry());
  put(store, busy);
  store.close();
  const again = open();
  t.teardown(() => again.close());
  const late = Array.from({ length: 50 }, () => entry());
  put(again, [entry()]);
  t.throws(
    () => put(again, [...late, { ...entry(), stamp: undefined as never }]),
    'and a write that fails takes nothing',
  );
  put(again, late);
  put(again, late);
  const kept = [...again.history({ latestFirst: false, after: 0 })];
  t.equal(kept.length, HISTORY_ENTRIES_MAX);
  t.same(
    kept.slice(0, 3).map(({ entry: { digest } }) => digest),
    // One of the busy one's went for the quiet one's, and as many as came after.
    [...quiet, busy[1 + 1 + 50]!].map(({ digest }) => digest),
  );
  t.same(
    kept.slice(-50).map(({ entry: { digest } }) => digest),
    late.map(({ digest }) => digest),
  );
});

t.test('a line that is not what was written is not told, and counts as lost', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const [first, second, third] = [entry(), entry(), entry()];
  const store = new StateStore(file, nodeCrypto);
  store.write({ put: [], remove: [], streams: [], history: [first, second, third] });
  store.close();
  const raw = new DatabaseSync(file);
  raw
    .prepare("UPDATE history SET entry = replace(entry, 'updated', 'deleted') WHERE digest = ?")
    .run(Buffer.from(second.digest, 'hex'));
  raw.close();
  const again = new StateStore(file, nodeCrypto);
  t.equal(again.damage, null);
  for (const query of [
    { latestFirst: false, after: 0 },
    { latestFirst: true, since_ms: 0 },
  ] as const)
    t.same(
      new Set([...again.history(query)].map((line) => line.entry.digest)),
      new Set([first.digest, third.digest]),
    );
  const lost_ms = again.historyLost_ms;
  t.not(lost_ms, null);
  const fourth = entry();
  again.write({ put: [], remove: [], streams: [], history: [fourth] });
  again.close();
  const later = new StateStore(file, nodeCrypto);
  t.teardown(() => later.close());
  t.equal([...later.history({ latestFirst: false, after: 0 })].length, 3);
  t.equal(later.historyLost_ms, lost_ms, 'it is found once, and kept');
});

t.test('a number of a line that cannot be true is damage, and the history begins anew', async (t) => {
  const file = path.join(await memoryDirectory(t), 'state.db');
  const store = new StateStore(file, nodeCrypto);
  store.write({ put: [], remove: [], streams: [], history: [entry()] });
  t.equal(store.historyLost_ms, null);
  store.close();
  const raw = new DatabaseSync(file);
  raw.exec(`UPDATE history SET id = ${2n ** 60n}`);
  raw.close();
  const before = Date.now();
  const again = new StateStore(file, nodeCrypto);
  t.ok(again.damage);
  again.write({ put: [], remove: [], streams: [], history: [entry()] });
  t.equal(again.historyEnd(), 1);
  const lost_ms = again.historyLost_ms;
  t.ok(lost_ms !== null && lost_ms >= before && lost_ms <= Date.now(), 'it says until when lines were lost');
  again.close();
  const later = new StateStore(file, nodeCrypto);
  t.teardown(() => later.close());
  t.equal(later.damage, null);
  t.equal(later.historyLost_ms, lost_ms, 'and so does a later start');
});

t.test('lines that go are the oldest of whoever has the most', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(fc.constantFrom('a', 'b', 'c')), (max, authors) => {
      const shares = new HistoryShares(max);
      const kept = new Map<number, string>();
      const linesOf = (author: string) => [...kept].filter(([, of]) => of === author);
      for (const [number, author] of authors.entries()) {
        kept.set(number, author);
        for (const gone of shares.add(author, number)) {
          const of = kept.get(gone)!;
          const most = Math.max(...['a', 'b', 'c'].map((each) => linesOf(each).length));
          if (linesOf(of).length !== most || linesOf(of)[0]![0] !== gone) return false;
          kept.delete(gone);
        }
        if (kept.size !== Math.min(number + 1, max)) return false;
      }
      return true;
    }),
  );
});

t.test('a merge is told with the names that the ledger knows', async (t) => {
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [operator] });
  const cordoned = write(machine, operator.id, 'intent', B, { intent: 'cordoned' });
  const draining = write(machine, operator.id, 'intent', B, { intent: 'draining' });
  const { ledger } = machine;
  t.match(historyEntries([draining], [cordoned], ledger, NOW), [
    { action: 'updated', summary: 'cordoned -> draining', subject: B, subjectName: null, applied_ms: NOW },
  ]);
  const body = {
    name: 'b',
    incarnation: 1,
    addresses: [],
    doors: [],
    host: '192.0.2.1',
    labels: {},
    capacity: { cpu_millis: 1, memory_bytes: 1 << 30 },
    subnet: null,
    driver: 'memory',
    version: '1',
  };
  const known = { siblings: (kind: string) => (kind === 'member' ? [{ ...draining, kind, body }] : []) };
  t.match(historyEntries([draining], [], known, NOW), [{ subjectName: 'b', authorName: 'b' }]);
  t.same(historyEntries([], [cordoned], ledger, NOW), []);
  // Several were replaced at once: what it differs from is the latest of its own key.
  const active = write(machine, operator.id, 'intent', B, { intent: 'active' });
  const elsewhere = write(machine, operator.id, 'intent', A, { intent: 'cordoned' });
  t.match(historyEntries([active], [draining, cordoned, elsewhere], ledger, NOW), [
    { summary: 'draining -> active' },
  ]);
});

t.test('a grant is told without a look at all others of its key', async (t) => {
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [operator] });
  const grant = write(machine, operator.id, 'grant', recordKey.grant(B, operator.id), memberGrant(B));
  const asked: string[] = [];
  const ledger = {
    siblings: (kind: string, key: string) => {
      asked.push(kind);
      return machine.ledger.siblings(kind, key);
    },
  };
  t.match(historyEntries([grant], [], ledger, NOW), [{ kind: 'grant', subject: B, concurrent: 0 }]);
  t.same(new Set(asked), new Set(['member']), 'whose name it is');
});
