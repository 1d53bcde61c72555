/**
 * Join tokens: what a new host needs to become a member, in one line of text (DESIGN section 3).
 *
 *   shoal1.<base64url of msgpack [cluster 32, seed 32, grant digest 32, not after ms, [role…], [door address…],
 *           life ms, when hosts are let in for a time only]>
 *
 * The seed is the private key of an ephemeral identity that an admitter has granted `admit`. The joiner signs its own
 * node grant with it, so any one reachable member is enough. A token is a secret: never in argv, never in a log.
 */
import { TIME_MS_MAX } from '../base/clock.ts';
import { decode, encode } from '../base/codec.ts';
import { ShoalError } from '../base/errors.ts';
import { fromHex, type KeyId, toHex } from '../base/ids.ts';
import { type GrantBody, ROLES, type Role } from '../base/records.ts';

export const TOKEN_PREFIX = 'shoal1.';
const TOKEN_LENGTH_MAX = 4096;
const ADDRESSES_MAX = 16;
export const TOKEN_TTL_MS = 15 * 60_000;
export const TOKEN_USES = 1;
/** What a joined host may do unless the token says less. */
export const DEFAULT_NODE_ROLES: readonly Role[] = ['member', 'worker', 'deployer'];

export interface JoinToken {
  /** Hex. */
  readonly cluster: string;
  /** 32 bytes, secret. */
  readonly seed: Uint8Array;
  /** Digest of the token's grant record, hex. */
  readonly grant: string;
  readonly notAfter_ms: number;
  readonly roles: readonly Role[];
  /** Multiaddrs of doors, with peer ids. */
  readonly doors: readonly string[];
  /** How long a host that joins with it is a member, unless renewed; absent: until revoked. */
  readonly life_ms?: number;
}

/** @param token of its doors the last ones are left out where all would make it longer than may be read. */
export function formatToken(token: JoinToken): string {
  const doors = token.doors.slice(0, ADDRESSES_MAX);
  for (;;) {
    const bytes = encode([
      fromHex(token.cluster),
      token.seed,
      fromHex(token.grant),
      token.notAfter_ms,
      token.roles,
      doors,
      ...(token.life_ms === undefined ? [] : [token.life_ms]),
    ]);
    const text = TOKEN_PREFIX + Buffer.from(bytes).toString('base64url');
    if (text.length <= TOKEN_LENGTH_MAX || doors.length === 0) return text;
    doors.pop();
  }
}

/** @throws ShoalError E_TOKEN_MALFORMED. The message never repeats the token. */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (!trimmed.startsWith(TOKEN_PREFIX) || trimmed.length > TOKEN_LENGTH_MAX) throw malformed();
  let fields: unknown;
  try {
    fields = decode(
      Uint8Array.from(Buffer.from(trimmed.slice(TOKEN_PREFIX.length), 'base64url')),
      TOKEN_LENGTH_MAX,
    );
  } catch (cause) {
    throw malformed(cause);
  }
  if (!Array.isArray(fields) || fields.length < 6 || fields.length > 7) throw malformed();
  const [cluster, seed, grant, notAfter_ms, roles, doors, life_ms] = fields as unknown[];
  if (!isBytes32(cluster) || !isBytes32(seed) || !isBytes32(grant)) throw malformed();
  if (typeof notAfter_ms !== 'number' || !(Math.abs(notAfter_ms) <= TIME_MS_MAX)) throw malformed();
  if (!Array.isArray(roles) || !roles.every((role) => ROLES.includes(role as Role))) throw malformed();
  if (
    !Array.isArray(doors) ||
    doors.length > ADDRESSES_MAX ||
    !doors.every((door) => typeof door === 'string')
  ) {
    throw malformed();
  }
  const token = { cluster: toHex(cluster), seed, grant: toHex(grant), notAfter_ms, roles, doors };
  if (life_ms === undefined) return token;
  if (typeof life_ms !== 'number' || !Number.isSafeInteger(life_ms) || life_ms < 0) throw malformed();
  return { ...token, life_ms };
}

/** The grant that makes a token's key able to admit hosts. */
export function tokenGrant(init: {
  subject: KeyId;
  parent: string | null;
  roles: readonly Role[];
  notAfter_ms: number;
  uses: number;
  /** How long hosts are let in for; absent: until revoked. */
  life_ms?: number | undefined;
}): GrantBody {
  const { subject, parent, roles, notAfter_ms, uses, life_ms } = init;
  const body: GrantBody = { subject, roles: ['admit'], admits: handedOn(roles), parent, notAfter_ms, uses };
  return life_ms === undefined ? body : { ...body, life_ms };
}

/** The grant that a token's key gives to a host. @param now milliseconds, and the stamp that the record will have */
export function nodeGrant(
  subject: KeyId,
  token: Pick<JoinToken, 'grant' | 'roles' | 'life_ms'>,
  now: number,
): GrantBody {
  const isAdmitter = token.roles.includes('admitter');
  const { life_ms } = token;
  return {
    subject,
    roles: [...token.roles],
    admits: isAdmitter ? handedOn(token.roles) : [],
    parent: token.grant,
    notAfter_ms: life_ms === undefined ? null : now + life_ms,
    uses: null,
    // Whom it lets in is let in for no longer than it was itself.
    ...(isAdmitter && life_ms !== undefined ? { life_ms } : {}),
  };
}

/** An admitter makes tokens, so `admit` goes with it. */
function handedOn(roles: readonly Role[]): Role[] {
  return roles.includes('admitter') ? [...roles, 'admit'] : [...roles];
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength === 32;
}

function malformed(cause?: unknown): ShoalError {
  return new ShoalError('E_TOKEN_MALFORMED', 'this is not a join token, or part of it is missing', { cause });
}
