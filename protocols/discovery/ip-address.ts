/**
 * IP addresses as text: telling the families apart, canonical forms and reverse names. Addresses come from
 * records that others wrote, so nothing is taken for an address before it has passed here.
 */

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const GROUP = /^[0-9a-f]{1,4}$/;

export interface IpAddress {
  readonly family: 4 | 6;
  /** Dotted quad, or eight groups without leading zeros, uncompressed: equal addresses have equal text. */
  readonly text: string;
}

/** @returns null for whatever is not an address; a zone (`%eth0`) and an embedded IPv4 tail are not accepted. */
export function parseAddress(text: string): IpAddress | null {
  if (IPV4.test(text)) return { family: 4, text };
  const groups = text.length <= 39 ? ipv6Groups(text.toLowerCase()) : null;
  return groups === null ? null : { family: 6, text: groups.join(':') };
}

/** RFC 4291 section 2.2, forms 1 and 2. */
function ipv6Groups(text: string): string[] | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array<string>(missing).fill('0'), ...tail];
  if (!groups.every((group) => GROUP.test(group))) return null;
  return groups.map((group) => Number.parseInt(group, 16).toString(16));
}

/** The PTR name of an address: RFC 1035 section 3.5, RFC 3596 section 2.5. */
export function reverseName(address: IpAddress): string {
  if (address.family === 4) return `${address.text.split('.').reverse().join('.')}.in-addr.arpa`;
  const nibbles = address.text
    .split(':')
    .map((group) => group.padStart(4, '0'))
    .join('');
  return `${[...nibbles].reverse().join('.')}.ip6.arpa`;
}

/** The address as one DNS label: `10-0-0-7`. */
export function addressLabel(address: IpAddress): string {
  return address.text.replaceAll(/[.:]/g, '-');
}
