/**
 * What users ask about trust at a node, answered in the terms of the API: tokens made, grants listed, tokens, nodes and
 * operators revoked, operators appointed. Who may is decided and signed in cluster-trust.ts, and for revocations in
 * revocations.ts.
 */
import { randomBytes } from 'node:crypto';
import type { Signer } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { fromHex, type KeyId, type NodeId, publicKeyFromKeyId } from '../../protocols/base/ids.ts';
import type { GrantBody, Role } from '../../protocols/base/records.ts';
import { type Cut, cutBefore, isAfter, NOTHING } from '../../protocols/trust/cut.ts';
import { isStanding } from '../../protocols/trust/listing.ts';
import type { Outcome } from '../../protocols/trust/outcome.ts';
import {
  DEFAULT_NODE_ROLES,
  formatToken,
  TOKEN_TTL_MS,
  TOKEN_USES,
  tokenGrant,
} from '../../protocols/trust/token.ts';
import type { Token, TokenRequest } from '../api/schemas.ts';
import type {
  Appointment,
  AppointRequest,
  GrantInfo,
  ListQuery,
  OperatorInfo,
  RemoveNodeRequest,
  RevocationInfo,
  RevocationPlan,
  RevokeNodeRequest,
  RevokeOperatorRequest,
  RevokeTokenRequest,
  TokenInfo,
} from '../api/trust-schemas.ts';
import type { Cluster } from '../cluster.ts';
import type { Named } from '../contacts.ts';
import { nodeCrypto, signerFromSeed } from '../crypto.ts';
import { isCalled } from '../view-answers.ts';
import {
  appointment,
  awaitedOperators,
  findToken,
  type GrantSource,
  grantInfos,
  operatorInfos,
  revocationInfos,
  tokenInfos,
} from './grant-answers.ts';
import { everMember, type Hosts, hostsOf, isHosts, namesakesOf } from './host-names.ts';
import { KeptHosts } from './kept-hosts.ts';
import { type KeyNames, keyNames } from './key-names.ts';
import { revocationPlan } from './revocation-plan.ts';
import type { RevokeRequest } from './revocations.ts';

/** Doors in a token, and of them of one other member. */
const DOORS_MAX = 8;
const DOORS_OF_EACH_MAX = 2;
/** Of an IPv6 address, port and peer id, and some more. */
const DOOR_LENGTH_MAX = 160;

export class TrustDesk {
  readonly #cluster: Cluster;
  /** Milliseconds. */
  readonly #now: number;

  constructor(cluster: Cluster, now: number) {
    this.#cluster = cluster;
    this.#now = now;
  }

  get names(): KeyNames {
    const { view, ledger } = this.#cluster;
    return keyNames(view, ledger.machine, this.#now);
  }

  /**
   * A token that this node may give, or an operator: the one whose key is given, or else kept on this host.
   * @throws E_NOT_ALLOWED; nothing was changed then.
   */
  async createToken(request: TokenRequest): Promise<Token> {
    const {
      roles: given = DEFAULT_NODE_ROLES,
      ttl_ms = TOKEN_TTL_MS,
      uses = TOKEN_USES,
      nodeTtl_ms,
    } = request;
    const { trust, id: cluster } = this.#cluster;
    const roles = [...new Set(given)];
    if (!roles.includes('member'))
      throw new ShoalError('E_BAD_INPUT', 'a host that joins has to be a member: name that role too', {
        detail: { field: 'roles' },
      });
    const { by, issuing } = this.#issuer(request.operatorKey, roles);
    const seed = new Uint8Array(randomBytes(32));
    const subject = signerFromSeed(seed).id;
    const notAfter_ms = this.#now + ttl_ms;
    // Whom it lets in is let in for no longer than this node itself was.
    const lives = [nodeTtl_ms, issuing.body?.life_ms].filter((life) => life !== undefined);
    const life = lives.length === 0 ? {} : { life_ms: Math.min(...lives) };
    const body = tokenGrant({ subject, parent: issuing.digest, roles, notAfter_ms, uses, ...life });
    const grant = await trust.grant(by, body);
    const doors = this.#doors();
    const token = formatToken({ cluster, seed, grant: grant.digest, notAfter_ms, roles, doors, ...life });
    return { token, id: grant.digest, expires_ms: notAfter_ms, uses };
  }

  grants({ all = false }: ListQuery): GrantInfo[] {
    return grantInfos(this.#source(), all);
  }

  tokens({ all = false }: ListQuery): TokenInfo[] {
    return tokenInfos(this.#source(), all);
  }

  operators(): OperatorInfo[] {
    return operatorInfos(this.#source());
  }

  /** @throws E_NOT_FOUND, E_NOT_ALLOWED, E_PLAN_CHANGED; nothing was changed then. */
  async revokeToken(id: string, request: RevokeTokenRequest): Promise<TokenInfo> {
    const token = findToken(this.tokens({ all: true }), id);
    await this.#revoke(this.#tokenRevocation(token, request), request.plan);
    return findToken(this.tokens({ all: true }), token.id);
  }

  /** What `revokeToken` would change. @throws as it does; so do the other plans. */
  planRevokeToken(id: string, request: RevokeTokenRequest): RevocationPlan {
    return this.#plan(this.#tokenRevocation(findToken(this.tokens({ all: true }), id), request));
  }

  /** @throws E_NOT_FOUND, E_AMBIGUOUS, E_NOT_ALLOWED, E_BAD_INPUT, E_PLAN_CHANGED; nothing was changed then. */
  async revokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationInfo> {
    return await this.#revoke(this.#nodeRevocation(node, request), request.plan);
  }

  planRevokeNode(node: string, request: RevokeNodeRequest): RevocationPlan {
    return this.#plan(this.#nodeRevocation(node, request), request);
  }

  /** @throws E_NOT_FOUND, E_AMBIGUOUS, E_NOT_ALLOWED, E_BAD_INPUT, E_STILL_ALIVE; nothing was changed then. */
  async removeNode(node: string, { force = false, operatorKey }: RemoveNodeRequest): Promise<RevocationInfo> {
    const { id, name } = this.#other(this.#everMember(node));
    // Of one whose grant has ended nothing is heard, and nothing waited for.
    const status = this.#cluster.view.members.get(id)?.status ?? 'failed';
    if (status !== 'failed' && !force)
      throw new ShoalError('E_STILL_ALIVE', `the node ${name} is ${status}; nothing was changed`);
    const removal = { subject: id, name, reason: 'node removed', ...signedWith(operatorKey) };
    return await this.#revoke({ ...removal, keeps: this.#cluster.trust.revocations.outstamped(removal) });
  }

  /** One vote. @throws E_BAD_KEY_ID, E_BAD_INPUT, E_NOT_ALLOWED; nothing was changed then. */
  async appoint({ key, operatorKey }: AppointRequest): Promise<Appointment> {
    publicKeyFromKeyId(key);
    this.#assertOffline(key);
    const { trust } = this.#cluster;
    const done = await trust.appoint(key, givenSigner(operatorKey));
    return { ...appointment(this.#source(), key), ...done, operators: this.operators() };
  }

  /** One vote. @throws E_NOT_FOUND, E_NOT_ALLOWED, E_PLAN_CHANGED; nothing was changed then. */
  async revokeOperator(operator: string, request: RevokeOperatorRequest): Promise<RevocationInfo> {
    return await this.#revoke(this.#operatorRevocation(operator, request), request.plan);
  }

  planRevokeOperator(operator: string, request: RevokeOperatorRequest): RevocationPlan {
    return this.#plan(this.#operatorRevocation(operator, request), request);
  }

  #tokenRevocation(token: TokenInfo, request: RevokeTokenRequest): RevokeRequest {
    const { reason = 'token revoked', hosts = false, operatorKey } = request;
    this.#assertOfToken(token.key);
    const revocation = hosts
      ? { subject: token.key, reason, cut: NOTHING, descendants: true }
      : this.#cluster.trust.revocations.tokenRevocation(token.key, reason);
    return { ...revocation, name: this.names(token.key), ...signedWith(operatorKey) };
  }

  #nodeRevocation(node: string, request: RevokeNodeRequest): RevokeRequest {
    const { id, name } = this.#other(this.#everMember(node));
    return this.#revocation({ key: id, name }, { reason: 'node revoked', ...request });
  }

  #operatorRevocation(operator: string, request: RevokeOperatorRequest): RevokeRequest {
    // One that was only voted for may have been mistyped: as many votes against it make sure that it is never one.
    const candidates = [...this.operators(), ...awaitedOperators(this.#source())];
    const found = candidates.filter(({ key, name }) => isCalled(operator, key, name));
    const [subject] = found;
    if (found.length > 1)
      throw new ShoalError(
        'E_AMBIGUOUS',
        `${found.length} operators are called ${operator}; \`shoal operator ls\` has their ids; nothing was changed`,
      );
    if (subject === undefined)
      throw new ShoalError('E_NOT_FOUND', `there is no operator ${operator}; \`shoal operator ls\` has them`);
    return this.#revocation(subject, { reason: 'operator revoked', ...request });
  }

  /**
   * The key of a host is on that host, and so is a token wherever it was sent: neither may rule. A grant alone says that of
   * a key only while it stands: any admitter can write one of any key, and would keep it from office for good.
   * @throws E_BAD_INPUT
   */
  #assertOffline(key: KeyId): void {
    const { authority, ledger } = this.#cluster.ledger.machine;
    const grants = [...authority.grants(this.#now)].filter(
      ({ subject, roles }) => subject === key && !roles.includes('operator'),
    );
    const isOperator = authority.operators().some((operator) => operator.key === key);
    const hasSigned = !isOperator && !ledger.recordsOf(key)[Symbol.iterator]().next().done;
    const grant = grants.find((each) => hasSigned || isStanding(each));
    if (grant === undefined) return;
    const why = hasSigned
      ? ''
      : `. If you made it so, the grant by ${this.names(grant.issuer)} that says so is a lie: make another one, and show its id only to those who vote`;
    throw new ShoalError(
      'E_BAD_INPUT',
      `the key is that of ${this.names(key)}, and whoever has it would rule the cluster: make one for the operator with \`shoal operator create\`; nothing was changed${why}`,
      { detail: { field: 'key' } },
    );
  }

  /**
   * That a key is no operator's and no host's that was up: who has stolen an admitter's key can grant those something like a
   * token, and they would be refused for good. What others have granted the key besides says nothing: whoever has the text of
   * any token can make a member of that of another.
   * @throws E_BAD_INPUT
   */
  #assertOfToken(key: KeyId): void {
    const { authority } = this.#cluster.ledger.machine;
    // Also of one that was dismissed: a thief may have done it, and one more vote would keep it out once that is undone.
    const isOperators = authority.operators().some((operator) => operator.key === key);
    if (!isOperators && !isHosts(this.#cluster, key)) return;
    const what = isOperators ? 'an operator' : 'a host';
    // By old numbers a token's key could let others in still, but for what is void with all that it let in.
    const command = isOperators
      ? `\`shoal operator revoke ${key}\``
      : `\`shoal node revoke ${key} --descendants\`, with \`--keep\` for each host that joined with it and is to stay`;
    throw new ShoalError(
      'E_BAD_INPUT',
      `the key ${key} is also that of ${what}, ${this.names(key)}, which would be refused for good; nothing was changed. Who granted it something like a token may have stolen a key. If it is to go: ${command}`,
      { detail: { field: 'token' } },
    );
  }

  /** Of a key that may have let others in. */
  #revocation(
    { key, name }: { readonly key: KeyId; readonly name: string },
    request: RevokeOperatorRequest & { readonly reason: string },
  ): RevokeRequest {
    const { reason, since_ms, descendants = false, keep = [], keepAll = false, operatorKey } = request;
    const bare = { subject: key, name, reason, ...this.#cut(key, since_ms), ...signedWith(operatorKey) };
    const { revocations } = this.#cluster.trust;
    const { staying, ...kept } = new KeptHosts(this.#cluster, this.#source()).keeps(
      { ...bare, keeps: revocations.outstamped(bare) },
      keep,
      keepAll,
    );
    const all = { ...bare, descendants, ...kept };
    const words = descendants ? revocations.rightful(all, staying) : revocations.outstamped(all);
    return { ...all, keeps: [...new Set([...kept.keeps, ...words])] };
  }

  #plan(
    request: RevokeRequest,
    { since_ms, keep = [] }: Pick<RevokeOperatorRequest, 'since_ms' | 'keep'> = {},
  ): RevocationPlan {
    const plan = {
      ...this.#planOf(this.#cluster.trust.revocations.foresee(request)),
      namesakes: namesakesOf(keep, this.#hosts()).map(({ host, others }) => {
        return { key: host.id, name: host.name, others };
      }),
    };
    const { cut } = request;
    if (since_ms === undefined || cut === undefined) return plan;
    const early = [...this.#cluster.ledger.machine.ledger.recordsOf(request.subject)].filter(
      (record) => record.hlc.ms <= since_ms && isAfter(record, cut),
    );
    return { ...plan, early_count: early.length };
  }

  #planOf(outcome: Outcome): Omit<RevocationPlan, 'namesakes'> {
    const { authority } = this.#cluster.ledger.machine;
    return revocationPlan(outcome, authority, this.names, nodeCrypto);
  }

  /** @param seen digest of the plan that was agreed to, if one was. */
  async #revoke(request: RevokeRequest, seen?: string): Promise<RevocationInfo> {
    const { trust } = this.#cluster;
    const plan = this.#planOf(trust.revocations.foresee(request));
    if (seen !== undefined && seen !== plan.digest)
      throw new ShoalError(
        'E_PLAN_CHANGED',
        'other hosts, operators or tokens would go now than were shown; nothing was changed',
      );
    const { digest } = await trust.revocations.revoke(request);
    const { untilRenewed, staying } = plan;
    return { ...revocationInfos(this.#source()).find(({ id }) => id === digest)!, untilRenewed, staying };
  }

  /** By whose word a token for these roles may be made here. @throws E_NOT_ALLOWED */
  #issuer(operatorKey: string | undefined, roles: readonly Role[]) {
    const { trust, self, ledger } = this.#cluster;
    const { authority } = ledger.machine;
    const given = givenSigner(operatorKey);
    // The node's own word first: what it lets in it may revoke itself.
    const candidates = given === undefined ? [self, trust.operator] : [given];
    const needed: Role[] = [...roles, 'admit'];
    const beyond = ({ admits }: GrantBody) => needed.filter((role) => !admits.includes(role));
    let lacking: readonly Role[] | undefined;
    for (const by of candidates) {
      if (by === undefined) continue;
      const key = typeof by === 'string' ? by : by.id;
      const issuing = authority.issuing(key, this.#now, (body) => beyond(body).length === 0);
      if (issuing !== undefined) return { by, issuing };
      const less = authority.issuing(key, this.#now)?.body;
      if (less) lacking ??= beyond(less);
    }
    if (lacking !== undefined)
      throw new ShoalError(
        'E_NOT_ALLOWED',
        `this node may not hand on the role ${lacking.join(', ')}; nothing was changed`,
      );
    const message =
      given === undefined
        ? 'this node may not admit others: create the token on a node with the role admitter'
        : 'the key that was given is no operator of this cluster; nothing was changed';
    throw new ShoalError('E_NOT_ALLOWED', message);
  }

  /** Where a host may knock: here, and at some others that are alive. */
  #doors(): string[] {
    const { addresses, view } = this.#cluster;
    const others = [...view.members.values()].filter(
      ({ id, status }) => id !== view.self && status === 'alive',
    );
    // Theirs are what they say: one that is no door must not take the place of others in a token.
    const theirs = others.flatMap(({ id, doors }) =>
      doors.filter((door) => isDoorOf(id, door)).slice(0, DOORS_OF_EACH_MAX),
    );
    return [...addresses.doors, ...theirs].slice(0, DOORS_MAX);
  }

  /** What a key wrote until then counts, as far as it is known. */
  #cut(key: KeyId, until_ms: number | undefined): { cut?: Cut } {
    if (until_ms === undefined) return {};
    const written = this.#cluster.ledger.machine.ledger.recordsOf(key);
    return { cut: cutBefore(written, ({ hlc }) => hlc.ms > until_ms) };
  }

  /** A node cannot be asked to take its own rights away, or to remove itself: it would be the last that it can do. */
  #other<T extends { readonly id: NodeId; readonly name: string }>(member: T): T {
    if (member.id === this.#cluster.view.self)
      throw new ShoalError('E_BAD_INPUT', `this is the node ${member.name} itself: do it at another node`);
    return member;
  }

  #everMember(node: string): Named {
    return everMember(node, this.#hosts());
  }

  #hosts(): Hosts {
    return hostsOf(this.#cluster, this.names, this.#now);
  }

  #source(): GrantSource {
    return { authority: this.#cluster.ledger.machine.authority, names: this.names, now: this.#now };
  }
}

/** An address in ASCII that proves whose it is. */
function isDoorOf(node: NodeId, door: string): boolean {
  return door.length <= DOOR_LENGTH_MAX && /^[\x21-\x7e]+$/.test(door) && door.endsWith(`/p2p/${node}`);
}

/** Of the key that came with a request, if one did. @param seed hex. A secret: never in a message. */
function givenSigner(seed: string | undefined): Signer | undefined {
  return seed === undefined ? undefined : signerFromSeed(fromHex(seed));
}

function signedWith(operatorKey: string | undefined): Pick<RevokeRequest, 'signer'> {
  const signer = givenSigner(operatorKey);
  return signer === undefined ? {} : { signer };
}
