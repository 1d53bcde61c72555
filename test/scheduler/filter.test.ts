import t from 'tap';
import type { MemberView } from '../../protocols/view/view.ts';
import {
  isImageKnown,
  REFUSAL_REASONS,
  REFUSALS,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
  type Refusal,
  refusalOf,
  retryDelay_ms,
} from '../../scheduler/filter.ts';
import type { SlotHolders } from '../../scheduler/slots.ts';
import { aMember, anAllocation, aSpec, aView, IMAGE_DIGEST, MIB, revisionOf } from './fixtures.ts';

const NOW = 1_000_000;
const SLOT = { name: 'default/web/0', index: 0, home: null } as const;
const NOBODY: SlotHolders = { live: [], leaving: [], ended: [] };
const empty = () => ({ cpu_millis: 0, memory_bytes: 0, instances: new Map(), images: new Set<string>() });

function refusal(
  over: Partial<MemberView>,
  parts: Partial<Parameters<typeof refusalOf>[0]> = {},
  load = empty(),
) {
  const member = aMember('b', over);
  const view = aView({ self: 'a', members: [aMember('a'), member] });
  const request = {
    view,
    now: NOW,
    spec: aSpec(),
    revision: revisionOf(1),
    slot: SLOT,
    holders: NOBODY,
    ...parts,
  };
  return refusalOf(request, member, load);
}

t.test('each reason of the closed set has its case', async (t) => {
  const zone = aSpec({ constraints: { zone: 'x' } });
  const failed = anAllocation('b', 0, { phase: 'failed', until_ms: NOW + 5, reason: 'exit 1' });
  const full = { ...empty(), cpu_millis: 3950 };
  const crammed = { ...empty(), memory_bytes: 4000 * MIB };
  const cases: Record<Refusal, ReturnType<typeof refusal>> = {
    'not-worker': refusal({ worker: false }),
    'not-alive': refusal({ status: 'failed' }),
    cordoned: refusal({ intent: 'cordoned' }),
    draining: refusal({ intent: 'draining' }),
    'not-home': refusal({}, { slot: { ...SLOT, home: 'a' } }),
    constraint: refusal({ labels: { zone: 'y' } }, { spec: zone }),
    'image-unknown': refusal({}, { spec: aSpec({ image: 'nobody:1' }) }),
    'still-leaving': refusal({}, { holders: { ...NOBODY, leaving: [anAllocation('b', 0)] } }),
    refused: refusal({}, { holders: { ...NOBODY, ended: [failed] } }),
    'insufficient-cpu': refusal({}, {}, full),
    'insufficient-memory': refusal({}, {}, crammed),
  };
  for (const reason of REFUSAL_REASONS) {
    t.match(cases[reason], { node: 'b', name: 'host-b', reason }, reason);
    t.ok(REFUSALS[reason].length > 10, `${reason} has a text`);
  }
  t.equal(cases.constraint?.detail, 'zone=x');
  t.match(cases.refused, { until_ms: NOW + 5, detail: 'exit 1' });
});

t.test('a node that has what is asked takes it, to the last byte, suspect or not', async (t) => {
  t.equal(refusal({}), null);
  t.equal(refusal({ status: 'suspect' }), null);
  t.equal(refusal({}, { slot: { ...SLOT, home: 'b' } }), null);
  t.equal(refusal({}, {}, { ...empty(), cpu_millis: 3900, memory_bytes: (4096 - 128) * MIB }), null);
});

t.test('a node does not believe its own death', async (t) => {
  const self = aMember('a', { status: 'failed' });
  const view = aView({ members: [self] });
  const request = { view, now: NOW, spec: aSpec(), revision: revisionOf(1), slot: SLOT, holders: NOBODY };
  t.equal(refusalOf(request, self, empty()), null);
});

t.test('a refusal holds until its time, for its own revision and node only', async (t) => {
  const ended = (over: Parameters<typeof anAllocation>[2], node = 'b') =>
    refusal({}, { holders: { ...NOBODY, ended: [anAllocation(node, 0, { phase: 'refused', ...over })] } });
  t.match(ended({ until_ms: NOW + 1 }), { reason: 'refused' });
  t.equal(ended({ until_ms: NOW }), null, 'over');
  t.equal(ended({ until_ms: NOW + 1, generation: 2 }), null, 'another revision');
  t.equal(ended({ until_ms: NOW + 1 }, 'a'), null, 'another node');
  t.equal(ended({ until_ms: NOW + 1, phase: 'stopped' }), null, 'no refusal');
  t.match(ended({ phase: 'failed', since_ms: NOW }), { until_ms: NOW + RETRY_MS_MIN }, 'without a time');
});

t.test('the delay of retries doubles up to its cap', async (t) => {
  t.equal(retryDelay_ms(0), RETRY_MS_MIN);
  t.equal(retryDelay_ms(1), RETRY_MS_MIN);
  t.equal(retryDelay_ms(3), RETRY_MS_MIN * 4);
  t.equal(retryDelay_ms(Number.MAX_SAFE_INTEGER), RETRY_MS_MAX);
});

t.test('an image is known by tag, by digest, and without its latest', async (t) => {
  const view = aView({ members: [aMember('a')] });
  const tagged = { ...view, tags: new Map([['redis:latest', IMAGE_DIGEST]]) };
  t.ok(isImageKnown(tagged, 'redis'));
  t.ok(isImageKnown(tagged, IMAGE_DIGEST));
  t.notOk(isImageKnown(tagged, 'redis:7'));
  t.notOk(isImageKnown({ ...tagged, images: new Map() }, 'redis'), 'a tag of nothing');
});
