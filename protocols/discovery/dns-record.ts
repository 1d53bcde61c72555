/**
 * DNS questions and answers as plain data: what the pure side says, and the wire side encodes.
 * Not here: bytes (daemon/dns/dns-wire.ts).
 */

/** Answers from the view may be kept this long, seconds: a dead instance is gone from caches soon after. */
export const ANSWER_TTL_S = 5;
/** "There is none" may be kept this long, seconds (RFC 2308: the lesser of the SOA's own TTL and its minimum). */
export const NEGATIVE_TTL_S = 1;
/** Records in one answer section; more instances than this are rotated through. */
export const ANSWERS_MAX = 256;

export interface DnsQuestion {
  /** Labels joined by dots, in any case, with or without the last dot. A dot within a label is written `\.`. */
  readonly name: string;
  /** Such as `A`; a type that nobody knows has no records. */
  readonly type: string;
}

export interface SoaData {
  readonly mname: string;
  readonly rname: string;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

export interface SrvData {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

interface Owned {
  /** Without the last dot. */
  readonly name: string;
  /** Seconds. */
  readonly ttl: number;
}

export type DnsRecord = Owned &
  (
    | { readonly type: 'A' | 'AAAA' | 'NS' | 'PTR'; readonly data: string }
    | { readonly type: 'SRV'; readonly data: SrvData }
    | { readonly type: 'TXT'; readonly data: readonly string[] }
    | { readonly type: 'SOA'; readonly data: SoaData }
  );

export interface DnsAnswer {
  readonly rcode: 'NOERROR' | 'NXDOMAIN';
  readonly authoritative: true;
  readonly answers: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
}
