/**
 * What users ask about trust at a node, answered: grants and tokens listed, tokens and nodes revoked. The decisions
 * are in revocation-plan.ts and the authority; here they are looked up, written and told.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type {
  GrantInfo,
  ListQuery,
  RemoveNodeQuery,
  RevocationInfo,
  RevokeNodeRequest,
  RevokeTokenRequest,
  TokenInfo,
} from '../api/trust-schemas.ts';
import type { Cluster } from '../cluster.ts';
import { findMember } from '../view-answers.ts';
import { findToken, type GrantSource, grantInfos, revocationInfos, tokenInfos } from './grant-answers.ts';
import { type KeyNames, keyNames } from './key-names.ts';
import { planRevocation, type RevocationRequest } from './revocation-plan.ts';

/** Resolves when the record is durable and the view shows it. */
type SignedWrite = (author: KeyId, kind: string, key: string, body: unknown) => Promise<LedgerRecord>;

export class TrustDesk {
  readonly #cluster: Cluster;
  readonly #now: number;
  readonly #write: SignedWrite;

  constructor(cluster: Cluster, now: number, write: SignedWrite) {
    this.#cluster = cluster;
    this.#now = now;
    this.#write = write;
  }

  get names(): KeyNames {
    const { view, ledger } = this.#cluster;
    return keyNames(view, ledger.machine, this.#now);
  }

  grants({ all = false }: ListQuery): GrantInfo[] {
    return grantInfos(this.#source(), all);
  }

  tokens({ all = false }: ListQuery): TokenInfo[] {
    return tokenInfos(this.#source(), all);
  }

  /** @throws E_NOT_FOUND, E_NOT_ALLOWED, E_TOO_LARGE; nothing was changed then. */
  async revokeToken(id: string, { reason, hosts = false }: RevokeTokenRequest): Promise<TokenInfo> {
    const token = findToken(this.tokens({ all: true }), id);
    await this.#revoke({
      subject: token.key,
      reason: reason ?? 'token revoked',
      // Each joiner numbers its grant in an epoch of its own, so no place has all of them before it: they are named.
      since_ms: 0,
      descendants: hosts,
      keeps: hosts ? [] : token.joined.map(({ grant }) => grant),
    });
    return findToken(this.tokens({ all: true }), token.id);
  }

  /** @throws E_NOT_FOUND, E_NOT_ALLOWED, E_TOO_LARGE; nothing was changed then. */
  async revokeNode(node: string, request: RevokeNodeRequest): Promise<RevocationInfo> {
    const { reason, since_ms, descendants = false, keep = [] } = request;
    const { id, name } = this.#other(node, 'revoke');
    return await this.#revoke({
      subject: id,
      reason: reason ?? 'node revoked',
      descendants,
      keeps: keep.flatMap((text) => this.#grantsBetween(id, name, text)),
      ...(since_ms === undefined ? {} : { since_ms }),
    });
  }

  /** @throws E_NOT_FOUND, E_NOT_ALLOWED, E_STILL_ALIVE; nothing was changed then. */
  async removeNode(node: string, { force = false }: RemoveNodeQuery): Promise<RevocationInfo> {
    const { id, name, status } = this.#other(node, 'remove');
    if (status !== 'failed' && !force)
      throw new ShoalError('E_STILL_ALIVE', `the node ${name} is ${status}; nothing was changed`);
    return await this.#revoke({ subject: id, reason: 'node removed' });
  }

  async #revoke(request: RevocationRequest): Promise<RevocationInfo> {
    const { signers, ledger } = this.#cluster;
    const { authority, ledger: records } = ledger.machine;
    const source = { authority, ledger: records, signers, names: this.names, now: this.#now };
    const { author, key, body } = planRevocation(source, request);
    const { digest } = await this.#write(author, 'revoke', key, body);
    return revocationInfos({ authority, names: this.names }).find(({ id }) => id === digest)!;
  }

  /** A node cannot be asked to take its own rights away: it would be the last that it can do. */
  #other(node: string, what: string): { id: NodeId; name: string; status: string } {
    const { view } = this.#cluster;
    const member = findMember(view, node);
    if (member.id === view.self)
      throw new ShoalError(
        'E_BAD_INPUT',
        `this is the node ${member.name} itself: ${what} it at another node`,
      );
    return member;
  }

  /** Grants by which `issuer` let a node in, itself or by a token: all links of its chain that the issuer signed. */
  #grantsBetween(issuer: KeyId, name: string, node: string): string[] {
    const member = findMember(this.#cluster.view, node);
    const grants = new Map(this.grants({ all: true }).map((grant) => [grant.id, grant]));
    const found: string[] = [];
    for (const grant of grants.values()) {
      if (grant.subject !== member.id) continue;
      for (let link: GrantInfo | undefined = grant; link !== undefined; ) {
        if (link.issuer === issuer) found.push(link.id);
        link = link.parent === null ? undefined : grants.get(link.parent);
      }
    }
    if (found.length === 0)
      throw new ShoalError('E_BAD_INPUT', `${member.name} was not let in by ${name}: it stays anyway`, {
        detail: { field: 'keep' },
      });
    return found;
  }

  #source(): GrantSource {
    return { authority: this.#cluster.ledger.machine.authority, names: this.names, now: this.#now };
  }
}
