/**
 * Which /24 of the cluster's range a node claims, and who gives way when two have claimed the same.
 * Pure: every node that sees the same member records says the same. IPv4 only.
 */
import { ShoalError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { parseAddress } from './ip-address.ts';

export interface SubnetRange {
  /** The first address, as an unsigned 32-bit number. */
  readonly base: number;
  readonly prefix: number;
  /** How many /24 it holds. */
  readonly count: number;
}

/** The widest range taken: a /8 has 65,536 subnets. */
const PREFIX_MIN = 8;
const SUBNET_PREFIX = 24;

/** @param range such as `10.210.0.0/16`, /8 to /24, host bits zero. @throws ShoalError E_BAD_INPUT */
export function parseRange(range: string): SubnetRange {
  const [text = '', bits = '', ...rest] = range.split('/');
  const address = parseAddress(text);
  const prefix = /^\d{1,2}$/.test(bits) ? Number(bits) : -1;
  const base = address?.family === 4 ? toNumber(text) : -1;
  const size = 2 ** (32 - prefix);
  if (rest.length > 0 || base < 0 || prefix < PREFIX_MIN || prefix > SUBNET_PREFIX || base % size !== 0) {
    throw new ShoalError(
      'E_BAD_INPUT',
      `"${range.slice(0, 64)}" is not an IPv4 range from /${PREFIX_MIN} to /${SUBNET_PREFIX}`,
      { detail: { field: 'range' } },
    );
  }
  return { base, prefix, count: size / 256 };
}

/** Whether `subnet` is a well-formed /24 within `range`. */
export function isSubnetOf(range: SubnetRange, subnet: string): boolean {
  const address = subnet.endsWith(`.0/${SUBNET_PREFIX}`) ? parseAddress(subnet.slice(0, -3)) : null;
  if (address?.family !== 4) return false;
  const offset = toNumber(address.text) - range.base;
  return offset >= 0 && offset < range.count * 256;
}

/**
 * @param taken what others claim; anything unparsable in it is no obstacle.
 * @returns a /24 picked by hash of the node id, the next free one when that is taken; null when none is free.
 * @throws ShoalError E_BAD_INPUT for a bad range.
 */
export function claimSubnet(range: string, taken: ReadonlySet<string>, self: NodeId): string | null {
  const { base, count } = parseRange(range);
  const first = hash(self) % count;
  for (let step = 0; step < count; step++) {
    const subnet = `${toText(base + ((first + step) % count) * 256)}/${SUBNET_PREFIX}`;
    if (!taken.has(subnet)) return subnet;
  }
  return null;
}

/** @returns the nodes that must renumber: of those that claim one subnet, all but the smallest id. Sorted. */
export function subnetConflicts(
  claims: Iterable<{ readonly id: NodeId; readonly subnet: string | null }>,
): NodeId[] {
  const keepers = new Map<string, NodeId>();
  const losers = new Set<NodeId>();
  for (const { id, subnet } of claims) {
    if (subnet === null) continue;
    const keeper = keepers.get(subnet);
    if (keeper === undefined || id < keeper) {
      keepers.set(subnet, id);
      if (keeper !== undefined) losers.add(keeper);
    } else if (id !== keeper) losers.add(id);
  }
  return [...losers].sort();
}

function toNumber(dotted: string): number {
  return dotted.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** FNV-1a with a final mix (MurmurHash3's), so that ids that differ in the last letter spread. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
