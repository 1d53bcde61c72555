/** Records of one author in lots of which all are let in or none: kept up as the ledger changes, for so many authors. */
import t from 'tap';
import { Ledger } from '../../../protocols/ledger/ledger.ts';
import { Lots } from '../../../protocols/ledger/lots.ts';
import { fact, grant, own, revoke } from '../trust/facts.ts';

const digests = (lots: Lots, author: string) =>
  Array.from(lots.of(author), (lot) => [...lot.keys()].sort()).sort((a, b) => (a[0]! < b[0]! ? -1 : 1));

t.test('a lot has all that asks for the same, and what only another grant lets in is in none', async (t) => {
  const ledger = new Ledger();
  const lots = new Lots(ledger);
  const alike = [
    [fact('ann', 'tag', 'app:1', {}, { seq: 1 }), fact('ann', 'workload', 'web', {}, { seq: 2 })],
    [own('ann', { seq: 3 }), own('ann', { seq: 4 }, 'verdict')],
    [own('ann', { seq: 5 }, 'alloc')],
    [grant('ann', 'ben', {}, { seq: 6 }), grant('ann', 'cem', {}, { seq: 7 })],
    [revoke('ann', 'ben', { seq: 8 }), revoke('ann', 'cem', { seq: 9 })],
    [revoke('ann', 'ann', { seq: 10 })],
  ];
  const [early, late] = [alike.map(([first]) => first!), alike.flatMap(([, second]) => second ?? [])];
  const { author } = early[0]!;
  for (const record of early) ledger.merge(record);
  t.same(digests(lots, author).flat(), early.map(({ digest }) => digest).sort());
  for (const record of [...late, grant('ann', 'dora', { parent: 'a'.repeat(64) }, { seq: 11 })])
    ledger.merge(record);
  const names = alike.map((lot) => lot.map(({ digest }) => digest).sort());
  t.same(
    digests(lots, author),
    names.sort((a, b) => (a[0]! < b[0]! ? -1 : 1)),
  );
  for (const record of early) ledger.remove(record);
  t.same(digests(lots, author).flat(), late.map(({ digest }) => digest).sort());
});

t.test('beyond so many authors the oldest is looked at anew', async (t) => {
  const ledger = new Ledger();
  const lots = new Lots(ledger);
  const records = Array.from({ length: Lots.AUTHORS_MAX + 1 }, (_, at) => own(`host ${at}`, { seq: 1 }));
  for (const record of records) ledger.merge(record);
  const looked = t.capture(ledger, 'recordsOf', ledger.recordsOf.bind(ledger));
  for (const { author, digest } of [...records, records[0]!, ...records.slice(-9)])
    t.same(digests(lots, author), [[digest]]);
  t.equal(looked().length, records.length + 1);
});
