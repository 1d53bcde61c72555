/**
 * DNS messages as bytes: reading a query, writing a response. The one importer of dns-packet.
 * Nothing here throws on what a stranger sent. Sources: RFC 1035 section 4, RFC 6891 (EDNS0).
 *
 * The question section is read and echoed by hand: verbatim bytes keep the asker's letter case (a guard of its own
 * against forgery) and names that have no faithful text.
 */
import { type Answer, encode, RECURSION_AVAILABLE } from 'dns-packet';
import type { DnsAnswer, DnsQuestion, DnsRecord } from '../../protocols/discovery/dns-record.ts';

/** RFC 1035: what every client takes over UDP. */
const UDP_BYTES_DEFAULT = 512;
/** What crosses nearly every path unfragmented (DNS flag day 2020); a client's larger offer is not used. */
export const UDP_BYTES_MAX = 1232;
/** The length field of TCP framing. */
export const TCP_BYTES_MAX = 65_535;
const HEADER_BYTES = 12;
const OPT_TYPE = 41;
const CLASS_IN = 1;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** RFC 6891: needs the OPT record for its upper bits; the lower four are zero. */
  BADVERS: 16,
} as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

export interface DnsQuery {
  readonly id: number;
  readonly question: DnsQuestion;
  /** The question section as it came. */
  readonly questionBytes: Uint8Array;
  readonly recursionDesired: boolean;
  readonly edns: boolean;
  /** Largest UDP response to send, between 512 and UDP_BYTES_MAX. */
  readonly udp_bytes: number;
}

/**
 * A query to answer; or an error to send back, with as much of the query as could be read; or null for what gets no
 * answer at all (a response, or fewer bytes than a header).
 */
export type ParsedQuery =
  | { readonly query: DnsQuery; readonly error: null }
  | { readonly query: Omit<DnsQuery, 'question'>; readonly error: Rcode };

const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  6: 'SOA',
  12: 'PTR',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  251: 'IXFR',
  252: 'AXFR',
  255: 'ANY',
};

export function parseQuery(bytes: Uint8Array): ParsedQuery | null {
  if (bytes.byteLength < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  if ((flags & 0x8000) !== 0) return null;
  const bare = {
    id: view.getUint16(0),
    questionBytes: new Uint8Array(),
    recursionDesired: (flags & 0x0100) !== 0,
    edns: false,
    udp_bytes: UDP_BYTES_DEFAULT,
  };
  if ((flags & 0x7800) !== 0) return { query: bare, error: RCODE.NOTIMP };
  // One question, no answers or authorities; one OPT and at most a signature behind it.
  const counts = [4, 6, 8, 10].map((at) => view.getUint16(at));
  if (counts[0] !== 1 || counts[1] !== 0 || counts[2] !== 0 || counts[3]! > 2) {
    return { query: bare, error: RCODE.FORMERR };
  }
  const read = readQuestion(bytes, view);
  if (read === null) return { query: bare, error: RCODE.FORMERR };
  const withQuestion = { ...bare, questionBytes: bytes.slice(HEADER_BYTES, read.end) };
  const opt = counts[3] === 0 ? null : readOpt(bytes, view, read.end);
  if (opt === undefined) return { query: withQuestion, error: RCODE.FORMERR };
  const query = {
    ...withQuestion,
    edns: opt !== null,
    udp_bytes: Math.min(Math.max(opt?.udp_bytes ?? 0, UDP_BYTES_DEFAULT), UDP_BYTES_MAX),
  };
  if (opt !== null && opt.version !== 0) return { query, error: RCODE.BADVERS };
  const type = TYPE_NAMES[read.type] ?? `TYPE${read.type}`;
  if (read.class !== CLASS_IN || type === 'AXFR' || type === 'IXFR') return { query, error: RCODE.REFUSED };
  return { query: { ...query, question: { name: read.name, type } }, error: null };
}

function readQuestion(bytes: Uint8Array, view: DataView) {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = bytes[at];
    // Compression cannot stand in the first name of a message (RFC 1035 section 4.1.4): two high bits are an error.
    if (length === undefined || length > 63 || at + 1 + length > bytes.byteLength) return null;
    at += 1;
    if (length === 0) break;
    labels.push(
      Buffer.from(bytes.subarray(at, at + length))
        .toString('latin1')
        .replaceAll('.', '\\.'),
    );
    at += length;
    if (at - HEADER_BYTES > 254) return null;
  }
  if (at + 4 > bytes.byteLength) return null;
  return { name: labels.join('.'), type: view.getUint16(at), class: view.getUint16(at + 2), end: at + 4 };
}

/** The first additional record, when it is OPT. @returns null when it is another, undefined when it is malformed. */
function readOpt(bytes: Uint8Array, view: DataView, at: number) {
  if (at + 11 > bytes.byteLength) return undefined;
  if (bytes[at] !== 0 || view.getUint16(at + 1) !== OPT_TYPE) return null;
  if (at + 11 + view.getUint16(at + 9) > bytes.byteLength) return undefined;
  return { udp_bytes: view.getUint16(at + 3), version: bytes[at + 6]! };
}

/**
 * @param bytes_max for UDP the query's `udp_bytes`, for TCP TCP_BYTES_MAX. What does not fit is left out: glue first,
 * silently; then everything, with the TC bit, so that the client asks again over TCP (or, over TCP, the tail).
 */
export function encodeAnswer(query: Omit<DnsQuery, 'question'>, found: DnsAnswer, bytes_max: number): Buffer {
  const base = { aa: true, rcode: RCODE[found.rcode] };
  const whole = respond(query, { ...found, ...base });
  if (whole.byteLength <= bytes_max) return whole;
  const bare = respond(query, { ...found, ...base, additionals: [] });
  if (bare.byteLength <= bytes_max) return bare;
  if (bytes_max < TCP_BYTES_MAX) return respond(query, { ...base, truncated: true });
  const keep = Math.floor((found.answers.length * bytes_max) / (bare.byteLength * 2));
  return respond(query, { ...base, truncated: true, answers: found.answers.slice(0, keep) });
}

export function encodeError(query: Omit<DnsQuery, 'question'>, rcode: Rcode): Buffer {
  return respond(query, { aa: false, rcode });
}

/** A truncated response: the asker comes again over TCP. */
export function encodeTruncated(query: Omit<DnsQuery, 'question'>): Buffer {
  return respond(query, { aa: false, rcode: RCODE.NOERROR, truncated: true });
}

interface Response {
  readonly aa: boolean;
  readonly rcode: Rcode;
  readonly truncated?: boolean;
  readonly answers?: readonly DnsRecord[];
  readonly authority?: readonly DnsRecord[];
  readonly additionals?: readonly DnsRecord[];
}

function respond(query: Omit<DnsQuery, 'question'>, response: Response): Buffer {
  const additionals = (response.additionals ?? []).map(toPacket);
  if (query.edns) {
    additionals.push({
      type: 'OPT',
      name: '.',
      udpPayloadSize: UDP_BYTES_MAX,
      extendedRcode: response.rcode >> 4,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    });
  }
  const body = encode({
    type: 'response',
    id: query.id,
    flags:
      RECURSION_AVAILABLE |
      (query.recursionDesired ? 0x0100 : 0) |
      (response.aa ? 0x0400 : 0) |
      (response.truncated === true ? 0x0200 : 0) |
      (response.rcode & 0xf),
    answers: (response.answers ?? []).map(toPacket),
    authorities: (response.authority ?? []).map(toPacket),
    additionals,
  });
  // Nothing is compressed, so the question can be put between header and answers.
  if (query.questionBytes.byteLength > 0) body.writeUInt16BE(1, 4);
  return Buffer.concat([body.subarray(0, HEADER_BYTES), query.questionBytes, body.subarray(HEADER_BYTES)]);
}

function toPacket(record: DnsRecord): Answer {
  const { name, ttl } = record;
  switch (record.type) {
    case 'SRV':
      return { type: 'SRV', name, ttl, data: { ...record.data } };
    case 'TXT':
      return { type: 'TXT', name, ttl, data: [...record.data] };
    case 'SOA':
      return { type: 'SOA', name, ttl, data: { ...record.data } };
    default:
      return { type: record.type, name, ttl, data: record.data };
  }
}

/** The same query under another id. */
export function withId(message: Uint8Array, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** Whether `message` is a response to the query that was sent with `id`; letter case may have changed. */
export function isResponseTo(message: Uint8Array, id: number, query: DnsQuery): boolean {
  const end = HEADER_BYTES + query.questionBytes.byteLength;
  if (message.byteLength < end || (message[2]! & 0x80) === 0) return false;
  const lower = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1').toLowerCase();
  return (
    ((message[0]! << 8) | message[1]!) === id &&
    lower(message.subarray(HEADER_BYTES, end)) === lower(query.questionBytes)
  );
}

export function isTruncated(message: Uint8Array): boolean {
  return (message[2]! & 0x02) !== 0;
}
