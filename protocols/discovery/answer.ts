/**
 * Answers a DNS question from the name index: pure, no bytes, no sockets.
 * Sources: RFC 1034 and 1035; RFC 2308 (NODATA is not NXDOMAIN: an existing name without records of the asked type
 * is NOERROR with the SOA); RFC 2782 (SRV); RFC 8020 (a name that exists makes its ancestors exist).
 */
import {
  ANSWER_TTL_S,
  ANSWERS_MAX,
  type DnsAnswer,
  type DnsQuestion,
  type DnsRecord,
  NEGATIVE_TTL_S,
  type SoaData,
} from './dns-record.ts';
import type { NameEntry, NameIndex } from './name-index.ts';

export interface AnswerOptions {
  /** Goes up when the index changes. Unsigned 32 bits. */
  readonly serial: number;
  /** Uniform in [0, 1): where the rotation of this answer begins. */
  readonly random: number;
}

const REVERSE_SUFFIX = /\.(in-addr|ip6)\.arpa$/;
const SLOT_LABEL = /^(0|[1-9]\d{0,8})$/;

/** @returns null when the name is not ours to answer: it belongs to an upstream server. */
export function answer(index: NameIndex, question: DnsQuestion, options: AnswerOptions): DnsAnswer | null {
  const asked = question.name.replace(/\.$/, '');
  const name = asked.toLowerCase();
  const zone = zoneOf(index, name);
  if (zone === null) return null;
  const entry = index.entries.get(name);
  const soa: DnsRecord = {
    name: zone,
    type: 'SOA',
    ttl: NEGATIVE_TTL_S,
    data: soaData(index, options),
  };
  if (entry === undefined) {
    const exists = name === zone || isIdleSlot(index, name);
    return reply(exists ? 'NOERROR' : 'NXDOMAIN', [], [], [soa]);
  }
  const answers = recordsOf(index, entry, asked, name === zone ? soa : null, question.type);
  const rotated = rotate(answers, options.random).slice(0, ANSWERS_MAX);
  if (rotated.length === 0) return reply('NOERROR', [], [], [soa]);
  return reply('NOERROR', rotated, glueOf(index, rotated, entry), []);
}

/** The zone of ours that holds a name; a reverse name outside the subnets is ours only when we know the address. */
function zoneOf(index: NameIndex, name: string): string | null {
  if (name === index.zone || name.endsWith(`.${index.zone}`)) return index.zone;
  if (!REVERSE_SUFFIX.test(name)) return null;
  const subnet = name.split('.').slice(-5).join('.');
  if (index.reverseZones.has(subnet)) return subnet;
  return index.entries.has(name) ? name : null;
}

/** A slot of the spec that nobody fills now: `<index>.<workload>.<namespace>`, not the short form. */
function isIdleSlot(index: NameIndex, name: string): boolean {
  const dot = name.indexOf('.');
  const label = name.slice(0, dot);
  const parent = name.slice(dot + 1);
  const isFull = parent.slice(0, -index.zone.length - 1).includes('.');
  return SLOT_LABEL.test(label) && isFull && Number(label) < (index.slots.get(parent) ?? 0);
}

function recordsOf(
  index: NameIndex,
  entry: NameEntry,
  name: string,
  apexSoa: DnsRecord | null,
  type: string,
): DnsRecord[] {
  const ttl = ANSWER_TTL_S;
  const addresses = (family: 4 | 6): DnsRecord[] =>
    entry.addresses
      .filter((address) => address.family === family)
      .map((address) => ({ name, type: family === 4 ? 'A' : 'AAAA', ttl, data: address.text }));
  switch (type) {
    case 'A':
      return addresses(4);
    case 'AAAA':
      return addresses(6);
    // RFC 8482: a subset is enough for somebody who asks for everything.
    case 'ANY':
      return [...addresses(4), ...addresses(6)];
    case 'SRV':
      return entry.services.map(({ port, instance }) => ({
        name,
        type: 'SRV',
        ttl,
        data: { priority: 0, weight: 1, port, target: instance.target },
      }));
    case 'TXT':
      return entry.texts.length === 0 ? [] : [{ name, type: 'TXT', ttl, data: entry.texts }];
    case 'PTR':
      return entry.pointers.map((data) => ({ name, type: 'PTR', ttl, data }));
    case 'SOA':
      return apexSoa === null ? [] : [{ ...apexSoa, name }];
    case 'NS':
      return apexSoa === null || name.toLowerCase() !== index.zone
        ? []
        : [{ name, type: 'NS', ttl, data: serverName(index) }];
    default:
      return [];
  }
}

/** Addresses of the names that the answers point to, so that a client need not ask again. */
function glueOf(index: NameIndex, answers: readonly DnsRecord[], entry: NameEntry): DnsRecord[] {
  const glue = new Map<string, DnsRecord>();
  const add = (name: string, address: { family: 4 | 6; text: string }) =>
    glue.set(`${name}/${address.text}`, {
      name,
      type: address.family === 4 ? 'A' : 'AAAA',
      ttl: ANSWER_TTL_S,
      data: address.text,
    });
  const targets = new Set(answers.map((record) => (record.type === 'SRV' ? record.data.target : '')));
  for (const { instance } of entry.services) {
    if (targets.has(instance.target)) add(instance.target, instance.address);
  }
  for (const record of answers) {
    if (record.type !== 'NS') continue;
    for (const address of index.entries.get(record.data)?.addresses ?? []) add(record.data, address);
  }
  return [...glue.values()];
}

function soaData(index: NameIndex, options: AnswerOptions): SoaData {
  return {
    mname: serverName(index),
    rname: `hostmaster.${index.zone}`,
    serial: options.serial >>> 0,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: NEGATIVE_TTL_S,
  };
}

function serverName(index: NameIndex): string {
  return index.server ?? `ns.${index.zone}`;
}

function rotate<T>(items: readonly T[], random: number): T[] {
  const start = Math.floor(random * items.length) % Math.max(items.length, 1);
  return [...items.slice(start), ...items.slice(0, start)];
}

function reply(
  rcode: DnsAnswer['rcode'],
  answers: readonly DnsRecord[],
  additionals: readonly DnsRecord[],
  authority: readonly DnsRecord[],
): DnsAnswer {
  return { rcode, authoritative: true, answers, additionals, authority };
}
