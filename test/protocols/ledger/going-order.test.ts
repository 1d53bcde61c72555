/** The first to go is what a sorted list would say, whatever came and went before, and whoever keeps what. */
import t from 'tap';
import { GoingOrder, goesBefore, type Placed } from '../../../protocols/ledger/going-order.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import fc from '../../laws.ts';
import { testSigner, unsigned } from './fixtures.ts';

const author = testSigner(0).id;

function recordOf(seq: number, kind: string, ms: number): LedgerRecord {
  const header = { cluster: 'c', author, epoch: 0, seq, hlc: { ms, n: 0 }, generation: 1, context: [] };
  const digest = seq.toString(16).padStart(64, '0');
  const key = kind === 'ack' ? author : `${seq}`;
  return { ...unsigned({ ...header, kind, key }, {}, digest), payload_bytes: seq };
}

const kinds = ['tag', 'member', 'ack', 'grant', 'revoke', 'genesis'];
const step = fc.record({
  what: fc.constantFrom('add', 'add', 'remove', 'again', 'take', 'keep', 'leave'),
  kind: fc.constantFrom(...kinds),
  ms: fc.nat(20),
  pick: fc.nat(1000),
});

t.test('the first to go, and what is filled, are those of a sorted list', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const live = new Set<LedgerRecord>();
      const gone: LedgerRecord[] = [];
      const keepers = new Map<string, number>();
      const keeperOf = ({ digest }: LedgerRecord) => keepers.get(digest) ?? Number.POSITIVE_INFINITY;
      const linksOf = ({ kind, seq }: LedgerRecord) => (kind === 'grant' ? seq % 3 : 0);
      const placed = (record: LedgerRecord) => ({ record, keeper: keeperOf(record), links: linksOf(record) });
      const liveOf = ({ digest }: LedgerRecord) => [...live].find((record) => record.digest === digest);
      const order = new GoingOrder({ live: liveOf }, { keeperOf, linksOf }, []);
      for (const [at, { what, kind, ms, pick }] of steps.entries()) {
        const [returning] = what === 'again' ? gone.splice(pick % (gone.length || 1), 1) : [];
        // From the wire: another object.
        const added = what === 'again' ? returning && { ...returning } : recordOf(at + 1, kind, ms);
        if (what === 'add' || what === 'again') {
          if (added === undefined) continue;
          live.add(added);
          order.add(added);
        } else if (what === 'remove' && live.size > 0) {
          const record = [...live][pick % live.size]!;
          live.delete(record);
          gone.push(record);
          order.remove(record);
        } else if (what === 'keep' || what === 'leave') {
          const grants = [...live, ...gone].filter((record) => record.kind === 'grant');
          const grant = grants[pick % (grants.length || 1)];
          if (grant === undefined) continue;
          // One more word for it, or one less.
          const before = keeperOf(grant);
          if (what === 'keep') keepers.set(grant.digest, Math.min(before, ms % 4));
          else keepers.delete(grant.digest);
          if (live.has(grant) && keeperOf(grant) > before) order.putBack([grant]);
        } else if (what === 'take') {
          const count = 1 + (ms % 3);
          const taken = Array.from({ length: count }, () => order.take());
          const sorted = [...live]
            .filter((record) => record.kind !== 'genesis')
            .sort((a, b) => (goesBefore(placed(a), placed(b)) ? -1 : 1));
          if (taken.some((record, place) => record !== sorted[place])) return false;
          const firsts = taken.filter((record) => record !== undefined);
          if (pick % 2 === 0) order.putBack(firsts);
          else
            for (const first of firsts) {
              live.delete(first);
              gone.push(first);
              order.remove(first);
            }
        }
        const bytes = [...live].reduce((sum, record) => sum + record.payload_bytes, 0);
        if (order.count !== live.size || order.bytes !== bytes) return false;
      }
      return true;
    }),
    { numRuns: 400 },
  );
  t.pass();
});

t.test(
  'what is plain goes first, what others hang on later, and last what the most senior keeps',
  async (t) => {
    let seq = 100;
    const place = (kind: string, changes: Partial<Placed> = {}, ms = 1, body: unknown = {}): Placed => {
      // So that nothing but what is meant puts one before another: the greater digest of two goes first.
      seq += 1;
      return { record: { ...recordOf(seq, kind, ms), body }, keeper: Infinity, links: 0, ...changes };
    };
    const inOrder = [
      place('tag', {}, 9),
      place('tag', {}, 8),
      place('member', {}, 7),
      place('ack', {}, 9),
      place('grant', { links: Infinity }, 9, { notAfter_ms: 5 }),
      place('grant', { links: Infinity }, 9, { notAfter_ms: 6 }),
      place('grant', { links: 3 }),
      place('grant', { links: 2 }),
      place('revoke'),
      place('grant', { keeper: 2, links: 1 }),
      place('grant', { keeper: 1, links: 1 }),
      place('grant', { keeper: 0, links: 2 }),
      place('grant', { keeper: 0, links: 1 }),
    ];
    for (const [at, one] of inOrder.entries())
      for (const [other_at, other] of inOrder.entries())
        t.equal(goesBefore(one, other), at < other_at, `${at} before ${other_at}`);
    const [earlier, later] = [place('revoke'), place('revoke')];
    t.ok(goesBefore(later, earlier), 'else by digest');
  },
);
