/**
 * Who stays when a key is revoked, and by which of its grants: those that people name with --keep, or all. Which grants
 * of a host are enough is worked out in grant-chains.ts.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import { KEEPS_MAX } from '../../protocols/base/records.ts';
import { isAppointment, readGrant } from '../../protocols/trust/acts.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import { type Cut, isAfter } from '../../protocols/trust/cut.ts';
import { mayStay } from '../../protocols/trust/renewal.ts';
import type { Cluster } from '../cluster.ts';
import type { Named } from '../contacts.ts';
import { type GrantSource, operatorInfos } from './grant-answers.ts';
import { GrantChains, type Kept } from './grant-chains.ts';
import { hostsOf, isHosts, keptHost } from './host-names.ts';
import type { RevokeRequest } from './revocations.ts';

/** What a revocation says of those. */
export type Keeps = Required<
  Pick<RevokeRequest, 'keeps' | 'issued' | 'hosts' | 'named' | 'namedOperators' | 'unnamed'>
> & {
  /** Keys of those hosts, and of what those hang on that are no members now. */
  readonly staying: ReadonlySet<KeyId>;
};

/** A revocation that keeps nobody yet. */
type Bare = RevokeRequest & { readonly name: string };

/** Who is to stay. */
interface Chosen {
  readonly named: readonly Named[];
  /** Whom nobody has named. */
  readonly others: readonly Named[];
  /** Operators that the key has voted for: they stay by that vote alone. */
  readonly ruling: ReadonlySet<KeyId>;
  /** Of them those that it voted for after the cut, and that stay. */
  readonly votedLate: ReadonlySet<KeyId>;
}

export class KeptHosts {
  readonly #cluster: Cluster;
  readonly #source: GrantSource;

  constructor(cluster: Cluster, source: GrantSource) {
    this.#cluster = cluster;
    this.#source = source;
  }

  /**
   * Grants by a key that are to stay, for these hosts to stay: those that would stand if the key was revoked with nothing
   * but what it wrote after the cut. A thief may have written others since, and revoked what the first ones hang on. Of hosts
   * that have none, those that stand now.
   * @throws E_NOT_FOUND, E_AMBIGUOUS, E_BAD_INPUT
   */
  keeps(bare: Bare, keep: readonly string[], keepAll: boolean): Keeps {
    const none = { keeps: [], issued: [], hosts: [], named: [], namedOperators: [], unnamed: [] };
    if (keep.length === 0 && !keepAll) return { ...none, staying: new Set() };
    const { authority, now } = this.#source;
    const after = this.#cluster.trust.revocations.imagineAgreed(bare);
    const { named, others, ruling, votedLate } = this.#chosen(bare, keep, keepAll, after);
    const kept = new Set([...named, ...others].map(({ id }) => id));
    const chainsOf = (from: Authority) => {
      const grants = [...from.grants(now)].filter(({ subject, roles }) =>
        roles.includes('operator') ? ruling.has(subject) : !votedLate.has(subject),
      );
      return new GrantChains(grants, bare.subject, kept);
    };
    const [chains, present] = [chainsOf(after), chainsOf(authority)];
    const above = (host: KeyId) => (chains.stands(host) ? chains : present).above(host);
    const keeps = new Set<string>();
    const below = new Set<string>();
    const through = new Set<KeyId>();
    const staying = new Set<KeyId>();
    const add = (host: KeyId, { signed, issued, unnamed }: Kept) => {
      for (const grant of signed) keeps.add(grant);
      for (const grant of issued) below.add(grant);
      for (const other of unnamed) through.add(other);
      if (keeps.size > KEEPS_MAX) throw tooManyKept(bare.name);
      staying.add(host);
      if (authority.isMember(host)) return;
      for (const grant of [...signed, ...issued]) staying.add(authority.grant(grant)!.subject);
    };
    for (const host of named) {
      const grants = above(host.id);
      // One that others let in, and that the key has sent away, is back where its word counts no more.
      if (grants.signed.length === 0 && mayStay(authority, host.id, now))
        throw new ShoalError('E_BAD_INPUT', `${host.name} was not let in by ${bare.name}: it stays anyway`, {
          detail: { field: 'keep' },
        });
      add(host.id, grants);
    }
    for (const { id } of others) add(id, above(id));
    const told = [...new Set(named.map(({ id }) => id))];
    return {
      keeps: [...keeps],
      issued: [...below],
      hosts: [...kept],
      // An operator that stays is no member, and need not be.
      named: told.filter((id) => !ruling.has(id)),
      namedOperators: told.filter((id) => ruling.has(id)),
      unnamed: [...through],
      staying,
    };
  }

  /** @param after all trust as it will be. */
  #chosen(bare: Bare, keep: readonly string[], keepAll: boolean, after: Authority): Chosen {
    const { names, now } = this.#source;
    const { subject: key, cut } = bare;
    const { present, former } = hostsOf(this.#cluster, names, now);
    const early = this.#appointedBy(key, cut);
    // Where a later vote may have made an operator of a host, that is not what its name stands for. What the thief has granted a
    // key since makes no host of it.
    const beside = new Set([...early, ...this.#cluster.remembered].map(({ id }) => id));
    const late = this.#appointedBy(key).filter(({ id }) => !beside.has(id) && !mayStay(after, id, now));
    const appointed = [...early, ...late];
    // No host is kept by a vote: it would rule, and only a thief votes for one.
    const ruling = new Set(appointed.map(({ id }) => id));
    const hosts = { present, former: [...former.filter(({ id }) => !ruling.has(id)), ...appointed] };
    const { authority } = this.#source;
    const isSentAway = (id: KeyId) => mayStay(after, id, now) && !mayStay(authority, id, now);
    const named = keep.map((text) => keptHost(text, hosts, isSentAway));
    // Of those that nobody has named votes after the cut may be a thief's.
    const others = keepAll
      ? [...present, ...former.filter(({ id }) => this.#mayComeBack(id, after)), ...early]
      : [];
    const kept = new Set([...named, ...others].map(({ id }) => id));
    // What is named with such a one is its vote alone.
    const votedLate = new Set(late.map(({ id }) => id).filter((id) => kept.has(id)));
    return { named, others, ruling, votedLate };
  }

  /**
   * Was it up once, and ended its grant a while ago, so that it may be renewed still?
   * @param after all trust as it will be: whom the thief of a key has sent away is a member again.
   */
  #mayComeBack(id: NodeId, after: Authority): boolean {
    const { authority, now } = this.#source;
    if (this.#cluster.ledger.machine.ledger.get('member', id) === undefined) return false;
    return mayStay(authority, id, now) || mayStay(after, id, now);
  }

  /**
   * Operators in force that it has voted for: with its descendants go those votes.
   * @param cut where only votes up to there are asked about.
   */
  #appointedBy(key: KeyId, cut?: Cut): Named[] {
    const subjects = new Set<KeyId>();
    for (const record of this.#cluster.ledger.machine.ledger.recordsOf(key)) {
      const { body } = readGrant(record) ?? {};
      const isVote = body !== undefined && isAppointment(body);
      if (isVote && (cut === undefined || !isAfter(record, cut))) subjects.add(body.subject);
    }
    return operatorInfos(this.#source)
      .filter((operator) => !operator.revoked && subjects.has(operator.key))
      .filter((operator) => !isHosts(this.#cluster, operator.key))
      .map((operator) => ({ id: operator.key, name: operator.name }));
  }
}

/** A second revocation would not add to the first: what either of them voids is void. */
function tooManyKept(name: string): ShoalError {
  return new ShoalError(
    'E_BAD_INPUT',
    `one revocation names at most ${KEEPS_MAX} grants by ${name} that stay, and these hosts take more; nothing was changed. Without --descendants all that it let in before the cut stays unnamed: revoke it so, then by themselves the hosts and tokens that are not to stay`,
    { detail: { field: 'keep' } },
  );
}
