/** A part that throws at a view: the records at fault are found, exactly, and the others stay in its view. */
import t from 'tap';
import type { StateStore } from '../../../daemon/store/state-store.ts';
import { Quarantine } from '../../../daemon/view/quarantine.ts';
import { findCulprits, SUSPECTS_MAX, TRIES_MAX, ViewReaders } from '../../../daemon/view/view-readers.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import type { ClusterView } from '../../../protocols/view/view.ts';
import fc from '../../laws.ts';
import { recordOf } from '../store/records.ts';

t.test('all culprits are found, and nobody else', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.array(fc.nat(199), { maxLength: 5 }),
      (count, chosen) => {
        const bad = new Set(chosen.filter((one) => one < count));
        const suspects = Array.from({ length: count }, (_, at) => at);
        const found = findCulprits(suspects, (without) => [...bad].every((one) => without.has(one)));
        t.same(new Set(found), bad);
      },
    ),
  );
});

t.test('of records that only throw together one is enough', async (t) => {
  const found = findCulprits([1, 2, 3, 4], (without) => without.has(2) || without.has(3));
  t.equal(found.length, 1);
  t.ok([2, 3].includes(found[0]!));
});

const nowhere = { names: () => [], write() {}, remove() {} } as unknown as StateStore;

/** A view is the list of its records here. */
function fixture(records: readonly LedgerRecord[]) {
  const held: LedgerRecord[] = [];
  const told: string[] = [];
  const log = (_level: string, message: string) => void told.push(message);
  const quarantine = new Quarantine({ store: nowhere, log, onHeld: (record) => held.push(record) });
  const viewOf = (without: ReadonlySet<LedgerRecord>) =>
    ({
      tags: new Map(
        records
          .filter((record) => !without.has(record) && !quarantine.has(record))
          .map((record) => [record.key, record]),
      ),
    }) as unknown as ClusterView;
  const readers = new ViewReaders({ quarantine, log, records: () => records, without: viewOf });
  return { held, told, quarantine, readers, view: () => viewOf(new Set()) };
}

const records = Array.from({ length: 40 }, (_, n) => recordOf(n + 1, `k${n}`));

t.test(
  'a record is quarantined when a part has thrown at it twice; the part has a view without it',
  async (t) => {
    const { held, quarantine, readers, view } = fixture(records);
    let last: ClusterView | undefined;
    const reader = (given: ClusterView) => {
      if (given.tags.has('k7')) throw new TypeError('poison');
      last = given;
    };
    readers.hand(view(), { it: reader });
    t.equal(quarantine.size, 0, 'once may be chance');
    t.equal(last!.tags.size, 39, 'it goes on without the one at once');
    readers.changed([records[1]!]);
    readers.hand(view(), { it: reader });
    t.same(held, [records[7]]);
    t.equal(quarantine.size, 1);
    readers.hand(view(), { it: reader });
    t.equal(last!.tags.size, 39);
    t.same(held, [records[7]], 'told once');
  },
);

t.test('a part that throws at any view quarantines nobody, and the others have theirs', async (t) => {
  const { quarantine, readers, told, view } = fixture(records);
  let isGiven = false;
  for (let n = 0; n < 3; n += 1) {
    readers.hand(view(), {
      broken: () => {
        throw new TypeError('a defect');
      },
      whole: () => {
        isGiven = true;
      },
    });
  }
  t.ok(isGiven);
  t.equal(quarantine.size, 0);
  t.ok(told.every((message) => message.includes('a defect')));
});

t.test('once views were taken, only what changed since is suspected', async (t) => {
  const { readers, view } = fixture(records);
  let calls = 0;
  readers.hand(view(), { it: () => {} });
  readers.changed([records[3]!]);
  const reader = (given: ClusterView) => {
    calls += 1;
    if (given.tags.has('k3')) throw new Error('poison');
  };
  readers.hand(view(), { it: reader });
  t.ok(calls <= 4, `${calls} views`);
});

t.test('a search has an end: past it nobody is blamed', async (t) => {
  const many = Array.from({ length: SUSPECTS_MAX * 2 }, (_, n) => recordOf(n + 1, `k${n}`));
  const { held, readers, quarantine, view } = fixture(many);
  let calls = 0;
  const reader = (given: ClusterView) => {
    calls += 1;
    // Every third: far more culprits than a search may ask for.
    if (many.some(({ key, seq }) => seq % 3 === 0 && given.tags.has(key))) throw new Error('poison');
  };
  for (let n = 0; n < 2; n += 1) readers.hand(view(), { it: reader });
  t.same(held, []);
  t.equal(quarantine.size, 0);
  t.ok(calls <= 2 * (TRIES_MAX + 2), `${calls} views`);
});
