/**
 * Making a cluster and letting hosts in: genesis, tokens, and both sides of the door. Signs and checks; what it
 * decides is carried out by node.ts and cluster.ts. See DESIGN section 3.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { decode, encode } from '../protocols/base/codec.ts';
import type { Crypto, Signer } from '../protocols/base/crypto.ts';
import { ShoalError } from '../protocols/base/errors.ts';
import { type KeyId, type NodeId, toHex } from '../protocols/base/ids.ts';
import type { GenesisBody, GrantBody, RevokeBody, Role } from '../protocols/base/records.ts';
import { recordKey } from '../protocols/base/records.ts';
import { sealGenesis } from '../protocols/ledger/machine.ts';
import {
  type LedgerRecord,
  NO_CLUSTER,
  openRecord,
  sealRecord,
  verifyRecord,
} from '../protocols/ledger/record.ts';
import { DOOR_LIMITS } from '../protocols/mesh/mesh.ts';
import { ACTS_MAX } from '../protocols/trust/appeal.ts';
import { Authority } from '../protocols/trust/authority.ts';
import { CHAIN_LENGTH_MAX } from '../protocols/trust/gate.ts';
import { OPERATORS_EVER_MAX } from '../protocols/trust/operators.ts';
import { DEFAULT_NODE_ROLES, type JoinToken, nodeGrant } from '../protocols/trust/token.ts';
import { bodyOf } from '../protocols/view/bodies.ts';

/** Containers of all hosts have addresses in this range unless genesis says otherwise. */
export const CLUSTER_RANGE = '10.210.0.0/16';
const KNOCK_VERSION = 1;
/** As much as a door reads: one revocation that keeps 1,024 grants has 68 KiB. */
const KNOCK_BYTES_MAX = DOOR_LIMITS.knock_bytes_max;
/** Of its own grant in an appeal: what a token gives is much smaller. */
export const OWN_BYTES_MAX = 2048;
/** Of the acts in an appeal; the rest is its own grant, and what they are wrapped in. */
export const ACTS_BYTES_MAX = KNOCK_BYTES_MAX - OWN_BYTES_MAX - 1024;
const WELCOME_BYTES_MAX = 4 << 20;
export const WELCOME_MEMBERS_MAX = 16;
/** Of one answer: operators that appointed one another may come in the wrong order, and then a chain of grants. */
const TAKE_ROUNDS_MAX = OPERATORS_EVER_MAX + 2 * CHAIN_LENGTH_MAX;

export interface Founding {
  readonly genesis: LedgerRecord;
  /** The first node's own grant. */
  readonly grant: LedgerRecord;
}

/** A new cluster: genesis signed by the operator's key, and the first node's grant. */
export function found(init: {
  name: string;
  operator: Signer;
  /** Operators besides, the most senior first: recovery keys. They stand before the one that signs. */
  seniors?: readonly KeyId[];
  /** Operators that it takes to appoint or revoke one. Default 1. */
  threshold?: number;
  node: NodeId;
  crypto: Crypto;
  now: number;
}): Founding {
  const { name, operator, seniors = [], threshold = 1, node, crypto, now } = init;
  const body: GenesisBody = {
    name,
    operators: [...seniors, operator.id],
    ...(threshold === 1 ? {} : { threshold }),
    range: CLUSTER_RANGE,
    nonce: toHex(new Uint8Array(randomBytes(16))),
  };
  const genesis = sealGenesis(body, operator, crypto, now);
  const roles: Role[] = [...DEFAULT_NODE_ROLES, 'admitter'];
  const grantBody: GrantBody = {
    subject: node,
    roles,
    admits: [...roles, 'admit'],
    parent: null,
    notAfter_ms: null,
    uses: null,
  };
  const grant = sealGrant({
    cluster: genesis.digest,
    signer: operator,
    epoch: 0,
    seq: 2,
    body: grantBody,
    crypto,
    now,
  });
  return { genesis, grant };
}

/**
 * An act of a key that is not this node's: an operator's, which may be used on any host. Its epoch is the time in
 * seconds, or one more than the last that is known of it, so what it does later comes after what it did, as a
 * revocation's cut needs. Its number in that epoch is by lot: two hosts may use the key within one second, and no number
 * may be given twice.
 */
export function sealAct(init: {
  cluster: string;
  signer: Signer;
  kind: 'grant' | 'revoke';
  body: GrantBody | RevokeBody;
  /** Records of this key that are known: to number after them. */
  known: Iterable<Pick<LedgerRecord, 'epoch'>>;
  crypto: Crypto;
  now: number;
}): LedgerRecord {
  const { cluster, signer, kind, body, known, crypto, now } = init;
  let epoch = Math.floor(now / 1000);
  for (const record of known) epoch = Math.max(epoch, record.epoch + 1);
  const header = {
    cluster,
    author: signer.id,
    epoch,
    seq: randomInt(1, 2 ** 31),
    hlc: { ms: now, n: 0 },
    kind,
    key: recordKey[kind](body.subject, signer.id),
    generation: 1,
    context: [],
  };
  return sealRecord(header, body, signer, crypto);
}

/** The joiner's own grant, signed with the token's key. Each joiner has an epoch of its own: no numbers collide. */
export function sealNodeGrant(
  token: JoinToken,
  tokenKey: Signer,
  node: NodeId,
  crypto: Crypto,
  now: number,
): LedgerRecord {
  return sealGrant({
    cluster: token.cluster,
    signer: tokenKey,
    epoch: randomInt(2 ** 32),
    seq: 1,
    body: nodeGrant(node, token, now),
    crypto,
    now,
  });
}

function sealGrant(init: {
  cluster: string;
  signer: Signer;
  epoch: number;
  seq: number;
  body: GrantBody;
  crypto: Crypto;
  now: number;
}): LedgerRecord {
  const { cluster, signer, epoch, seq, body, crypto, now } = init;
  const header = {
    cluster,
    author: signer.id,
    epoch,
    seq,
    hlc: { ms: now, n: 0 },
    kind: 'grant',
    key: recordKey.grant(body.subject, signer.id),
    generation: 1,
    context: [],
  };
  return sealRecord(header, body, signer, crypto);
}

/** A knock of a stranger who brings its grant. */
export function encodeKnock(grant: LedgerRecord): Uint8Array {
  return encode([KNOCK_VERSION, grant.bytes]);
}

/**
 * A knock of a key that was let in before: it asks how it stands, and to be renewed if it may.
 * @param acts that the others may not have, and by which it is a member; at most ACTS_BYTES_MAX.
 * @param own the grant by which it was let in: the door may know others in its place, and not it. At most OWN_BYTES_MAX.
 */
export function encodeAppeal(acts: readonly LedgerRecord[], own?: LedgerRecord): Uint8Array {
  const brought = acts.map(({ bytes }) => bytes);
  if (own !== undefined) return encode([KNOCK_VERSION, null, brought, own.bytes]);
  return encode([KNOCK_VERSION, null, ...(brought.length === 0 ? [] : [brought])]);
}

/** Of a key that was let in before: envelopes of acts and of its grant, not looked into. */
export interface Appeal {
  readonly kind: 'appeal';
  readonly acts: readonly Uint8Array[];
  readonly own?: Uint8Array;
}

/** What a knock brings: a grant for a stranger, or an appeal. */
export type Brought = { readonly kind: 'grant'; readonly grant: LedgerRecord } | Appeal;

/** @throws E_MALFORMED, E_TOO_LARGE */
export function openKnock(body: Uint8Array, crypto: Crypto): Brought {
  const fields = decode(body, KNOCK_BYTES_MAX);
  if (Array.isArray(fields) && fields[0] === KNOCK_VERSION) {
    const [, grant, acts = [], own] = fields as unknown[];
    if (grant === null && areEnvelopes(acts) && (own === undefined || own instanceof Uint8Array))
      return { kind: 'appeal', acts, ...(own !== undefined && { own }) };
    if (grant instanceof Uint8Array) return { kind: 'grant', grant: openRecord(grant, crypto) };
  }
  throw new ShoalError('E_MALFORMED', 'the knock has an unknown shape');
}

function areEnvelopes(acts: unknown): acts is Uint8Array[] {
  return Array.isArray(acts) && acts.length <= ACTS_MAX && acts.every((act) => act instanceof Uint8Array);
}

/**
 * The door's side: may this stranger come in?
 * @returns its grant, to be introduced to the ledger, or undefined when it is a member already (a repeated knock).
 * @throws E_TOKEN_REFUSED, E_TOKEN_EXPIRED, E_TOKEN_USED, E_REVOKED
 */
export function admit(init: {
  from: NodeId;
  record: LedgerRecord;
  cluster: string;
  authority: Authority;
  crypto: Crypto;
  now: number;
}): LedgerRecord | undefined {
  const { from, record, cluster, authority, crypto, now } = init;
  const grant = bodyOf('grant', record);
  if (grant === undefined || grant.subject !== from || record.epoch === 0) {
    throw new ShoalError('E_TOKEN_REFUSED', 'the knock brings no grant for the key that knocks');
  }
  if (record.cluster !== cluster) throw new ShoalError('E_TOKEN_REFUSED', 'the token is for another cluster');
  if (authority.isRevoked(from)) throw new ShoalError('E_REVOKED', 'the key of this host was revoked');
  // One whose grant has just ended is a member for a while yet, and what it writes counts nowhere.
  const until_ms = authority.memberUntil(from);
  if (until_ms === null || (until_ms !== undefined && now <= until_ms)) return undefined;
  if (grant.parent === null) throw new ShoalError('E_TOKEN_REFUSED', 'the grant comes from no token');
  assertUsable(authority, grant.parent, now);
  if (grant.notAfter_ms !== null && now > grant.notAfter_ms) {
    const end = new Date(grant.notAfter_ms).toISOString();
    const message = `the grant that this host brings ended at ${end}, and it is ${new Date(now).toISOString()} here; the token was not used. Set the clocks of both hosts`;
    throw new ShoalError('E_TOKEN_REFUSED', message);
  }
  if (authority.admission(record) !== 'yes' || !verifyRecord(record, crypto)) {
    throw new ShoalError('E_TOKEN_REFUSED', 'the token does not give what the host asks for');
  }
  return record;
}

function assertUsable(authority: Authority, token: string, now: number): void {
  switch (authority.stateOf(token, now)) {
    case 'valid':
      return;
    case 'expired':
      throw new ShoalError('E_TOKEN_EXPIRED', 'the token has expired');
    case 'used-up': {
      const uses = authority.issuedBy(token).length;
      throw new ShoalError(
        'E_TOKEN_USED',
        `the token has been used ${uses} of ${authority.grant(token)?.uses} times`,
      );
    }
    case undefined:
      throw new ShoalError('E_TOKEN_UNKNOWN', 'the token is not known to this member');
    case 'revoked':
    case 'void':
    case 'over-used':
    case 'awaiting':
      throw new ShoalError('E_TOKEN_REFUSED', 'the token, or who made it, was revoked');
  }
}

/** What a member tells a host that it let in: all it needs to be one. Or, to an appeal: how its key stands. */
export interface Welcome {
  readonly genesis: LedgerRecord;
  /** In answer to an appeal also revocations. */
  readonly grants: readonly LedgerRecord[];
  /** Some members and where to dial them. */
  readonly members: readonly { readonly id: NodeId; readonly addresses: readonly string[] }[];
}

export function encodeWelcome(welcome: Welcome): Uint8Array {
  return encode([
    KNOCK_VERSION,
    welcome.genesis.bytes,
    welcome.grants.map((grant) => grant.bytes),
    welcome.members.slice(0, WELCOME_MEMBERS_MAX).map(({ id, addresses }) => [id, addresses]),
  ]);
}

/**
 * The joiner's side: the genesis must be that of the token, and the grants must make `node` a member. What comes out
 * holds no more than a ledger would have taken: it is stored as it is, and a stored ledger is not judged again.
 * @throws E_MALFORMED, E_BAD_SIGNATURE, E_TOKEN_REFUSED
 */
export function openWelcome(
  body: Uint8Array,
  token: Pick<JoinToken, 'cluster'>,
  node: NodeId,
  crypto: Crypto,
): Welcome {
  const welcome = openAnswer(body, token.cluster, crypto);
  for (const record of [welcome.genesis, ...welcome.grants]) {
    if (!verifyRecord(record, crypto))
      throw new ShoalError('E_BAD_SIGNATURE', 'the answer of the member is forged');
  }
  const authority = new Authority(welcome.genesis.digest, bodyOf('genesis', welcome.genesis)!);
  const grants = takeIn(
    authority,
    welcome.grants.filter(({ cluster }) => cluster === token.cluster),
  );
  if (!authority.isMember(node))
    throw new ShoalError('E_TOKEN_REFUSED', 'the member did not let this host in');
  return { ...welcome, grants };
}

/**
 * They may come in any order: each round offers what is not there again, for what it hangs on may have come since, or what
 * keeps one of those that were too many. @returns what was taken.
 */
function takeIn(authority: Authority, records: readonly LedgerRecord[]): LedgerRecord[] {
  const taken = new Map<string, LedgerRecord>();
  const isAdmitted = (record: LedgerRecord) => authority.admission(record) === 'yes';
  const drop = (record: LedgerRecord) => {
    if (!taken.delete(record.digest)) return;
    authority.remove(record);
    for (const other of [...taken.values()]) if (!isAdmitted(other)) drop(other);
  };
  const take = (record: LedgerRecord): boolean => {
    const surplus = authority.surplus(record);
    if (surplus.includes(record)) return false;
    authority.add(record);
    taken.set(record.digest, record);
    for (const { digest } of surplus) if (taken.has(digest)) drop(taken.get(digest)!);
    return true;
  };
  const revocations = records.filter(({ kind }) => kind === 'revoke');
  const offered = [...revocations, ...records.filter(({ kind }) => kind === 'grant')];
  let moves = true;
  for (let round = 0; moves && round < TAKE_ROUNDS_MAX; round += 1) {
    moves = false;
    for (const record of offered)
      if (!taken.has(record.digest) && isAdmitted(record)) moves = take(record) || moves;
  }
  return [...taken.values()];
}

/**
 * What a door answered, of the right cluster, and no signature but that of genesis looked at: the ledger does that.
 * @throws E_MALFORMED, E_TOKEN_REFUSED
 */
export function openAnswer(body: Uint8Array, cluster: string, crypto: Crypto): Welcome {
  const fields = decode(body, WELCOME_BYTES_MAX);
  if (!Array.isArray(fields) || fields[0] !== KNOCK_VERSION) throw unknownShape();
  const [, genesisBytes, grantBytes, members] = fields as unknown[];
  if (!(genesisBytes instanceof Uint8Array) || !Array.isArray(grantBytes) || !Array.isArray(members))
    throw unknownShape();
  const genesis = openRecord(genesisBytes, crypto);
  if (
    bodyOf('genesis', genesis) === undefined ||
    genesis.digest !== cluster ||
    genesis.cluster !== NO_CLUSTER
  ) {
    throw new ShoalError('E_TOKEN_REFUSED', 'the member that answered is of another cluster');
  }
  const grants = grantBytes.map((bytes) => {
    if (!(bytes instanceof Uint8Array)) throw unknownShape();
    return openRecord(bytes, crypto);
  });
  return { genesis, grants, members: members.map(openMember) };
}

function openMember(entry: unknown): Welcome['members'][number] {
  const [id, addresses] = Array.isArray(entry) ? (entry as unknown[]) : [];
  if (typeof id !== 'string' || !Array.isArray(addresses)) throw unknownShape();
  return { id, addresses: addresses.filter((address) => typeof address === 'string') };
}

function unknownShape(): ShoalError {
  return new ShoalError('E_MALFORMED', 'the answer of the member has an unknown shape; nothing was changed');
}
