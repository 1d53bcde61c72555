/**
 * In which order a host takes in what a door answers, which is told by its weight: each record after what it waits for, or
 * the ledger has it wait, and few may for one message; and after what its author has the right to it by, or the ledger
 * refuses it. Not here: whether any of it may enter (protocols/trust/gate.ts).
 */
import type { KeyId } from '../../protocols/base/ids.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { isAppointment, isWord, readGrant, readRevocation } from '../../protocols/trust/acts.ts';
import type { Authority } from '../../protocols/trust/authority.ts';

/** The digest of a grant, a key that has any, or a right that a key has by one. */
type Name = string;

/**
 * Votes for operators and revocations first, as far as that goes: they may keep a grant that were else too much.
 * @param authority of the ledger that is to take them.
 */
export function inHeardOrder(
  records: readonly LedgerRecord[],
  authority: Pick<Authority, 'admission' | 'threshold'>,
): LedgerRecord[] {
  const named = new Set(records.flatMap(givenBy));
  const come = new Set<Name>();
  const waiting = new Map<Name, LedgerRecord[]>();
  const votes = new VoteCount(authority.threshold);
  const ordered: LedgerRecord[] = [];
  const words: LedgerRecord[] = [];
  const others: LedgerRecord[] = [];
  // The last of each is the next.
  const offer = (next: readonly LedgerRecord[]) => {
    for (const record of next.toReversed()) (isWord(record) ? words : others).push(record);
  };
  const comes = (name: Name) => {
    come.add(name);
    offer(waiting.get(name) ?? []);
    waiting.delete(name);
  };
  offer(records);
  while (ordered.length < records.length) {
    const record = words.pop() ?? others.pop();
    if (record === undefined) {
      // Each of those that are left waits for another of them, or for more votes than there are.
      const [name] = waiting.keys();
      comes(name!);
      continue;
    }
    const missing = neededBy(record).find((name) => named.has(name) && !come.has(name));
    if (missing !== undefined && authority.admission(record) !== 'yes') {
      const known = waiting.get(missing);
      if (known === undefined) waiting.set(missing, [record]);
      else known.push(record);
      continue;
    }
    ordered.push(record);
    const isEnough = votes.count(record);
    for (const name of givenBy(record)) if (isEnough || !isRight(name)) comes(name);
  }
  return ordered;
}

/** Whose votes have come, by who they are for. */
class VoteCount {
  readonly #threshold: number;
  readonly #voters = new Map<KeyId, Set<KeyId>>();

  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** @returns false of a vote with which there are too few to put its subject in office. */
  count(record: LedgerRecord): boolean {
    const body = record.kind === 'grant' ? readGrant(record)?.body : undefined;
    if (body === undefined || !isAppointment(body)) return true;
    const voters = this.#voters.get(body.subject) ?? new Set();
    this.#voters.set(body.subject, voters.add(record.author));
    return voters.size >= this.#threshold;
  }
}

const RIGHT = ' may ';

function ruling(key: KeyId): Name {
  return `${key}${RIGHT}rule`;
}

function revoking(key: KeyId): Name {
  return `${key}${RIGHT}revoke`;
}

function isRight(name: Name): boolean {
  return name.includes(RIGHT);
}

function givenBy(record: LedgerRecord): Name[] {
  const body = record.kind === 'grant' ? readGrant(record)?.body : undefined;
  if (body === undefined) return [];
  const { subject, roles } = body;
  const names = [record.digest, subject];
  if (isAppointment(body)) names.push(ruling(subject), revoking(subject));
  else if (roles.includes('admitter')) names.push(revoking(subject));
  return names;
}

function neededBy(record: LedgerRecord): Name[] {
  const { author } = record;
  const grant = record.kind === 'grant' ? readGrant(record) : undefined;
  if (grant !== undefined) {
    const { parent, renews } = grant.body;
    return [parent ?? ruling(author), ...(renews === undefined ? [] : [renews])];
  }
  const revocation = record.kind === 'revoke' ? readRevocation(record) : undefined;
  const isOfOther = revocation !== undefined && revocation.body.subject !== author;
  return [isOfOther ? revoking(author) : author];
}
