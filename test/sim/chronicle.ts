/**
 * What nodes tell about themselves in a run, kept as small as checkers and measurements need it. The simulator knows
 * nothing of it, and it judges nothing.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type { Member } from '../../protocols/membership/state.ts';
import type { MemberStatus } from '../../protocols/view/view.ts';

/** Verdicts that are kept; more are counted. */
const VERDICTS_MAX = 100_000;
/** Records that are followed on their way to all; more are not. */
const FOLLOWED_MAX = 200_000;
const SAMPLES_MAX = 2_000_000;

type Verdicts = Member['verdicts'];
const NO_VERDICTS: Verdicts = new Map();

interface Failed {
  readonly at_ms: number;
  /** Who held it so. */
  readonly node: NodeId;
  readonly member: NodeId;
}

interface Ban {
  readonly at_ms: number;
  readonly node: NodeId;
  readonly peer: NodeId;
  /** Offences that the node has counted since its start, of all peers. */
  readonly offences: Readonly<Record<string, number>>;
}

interface Deletion {
  readonly key: string;
  readonly at_ms: number;
  readonly writer: NodeId;
  /** Of the tombstone. */
  readonly digest: string;
}

type Written = Pick<LedgerRecord, 'digest' | 'kind' | 'key'>;

/** One record on its way. */
interface Followed {
  readonly at_ms: number;
  readonly kind: string;
  readonly key: string;
  readonly writer: NodeId;
  /** Nodes that applied it, and when the last of them did. */
  applied_count: number;
  last_ms: number;
}

export class Chronicle {
  /** Times that a view called a dead member failed, and a healthy one by a healthy one. */
  readonly deaths: Failed[] = [];
  readonly falseVerdicts: Failed[] = [];
  /** Times that a view was found to call a member failed long after both were well again. */
  readonly heldWrongly: Failed[] = [];
  /** Whether a member is dead for good, or what excuses that it is called failed, now: the stage knows. */
  judge: (node: NodeId, member: NodeId) => 'dead' | 'healthy' | 'troubled' | 'unheard' | 'recovered' = () =>
    'healthy';
  /** By watcher and subject: the incarnation of the last verdict that was right when it was given. */
  readonly #rightly = new Map<string, number>();
  /** Members that do harm. */
  byzantine: ReadonlySet<NodeId> = new Set();
  readonly counts = {
    alive: 0,
    suspect: 0,
    failed: 0,
    /** Of these: neither of a dead member nor false, for one of both was in trouble. */
    excused: 0,
    refutations: 0,
    isolations: 0,
    equivocations: 0,
    collections: 0,
  };
  /** Acknowledged records by digest. */
  readonly acknowledged = new Map<string, Followed>();
  /** From a write to its application, on each node. */
  readonly latencies_ms: number[] = [];
  /** Records that were not taken, by reason. */
  readonly rejected = new Map<string, number>();
  /** Writes that were refused to a user, by code. */
  readonly refused = new Map<string, number>();
  readonly bans: Ban[] = [];
  /** Acknowledged deletions of tags; and tags whose tombstone was acknowledged, or taken in by anybody. */
  readonly deletions: Deletion[] = [];
  readonly buried = new Set<string>();
  /** By accused author: who saw its equivocation. */
  readonly equivocators = new Set<NodeId>();

  /** A watcher writes that a member has failed. */
  accused(watcher: NodeId, subject: NodeId, incarnation: number): void {
    const key = `${watcher}/${subject}`;
    const judgement = this.judge(watcher, subject);
    if (judgement === 'healthy' || judgement === 'recovered') this.#rightly.delete(key);
    else this.#rightly.set(key, incarnation);
  }

  /** @param verdicts what the node holds of the member, by watcher. */
  status(
    at_ms: number,
    node: NodeId,
    member: NodeId,
    status: MemberStatus,
    verdicts: Verdicts = NO_VERDICTS,
  ): void {
    this.counts[status] += 1;
    if (status !== 'failed') return;
    const judgement = this.judge(node, member);
    const isLately = judgement === 'unheard' || judgement === 'recovered';
    if (judgement === 'troubled' || (isLately && this.#wereRight(member, verdicts))) {
      this.counts.excused += 1;
      return;
    }
    const list = judgement === 'dead' ? this.deaths : this.falseVerdicts;
    if (list.length < VERDICTS_MAX) list.push({ at_ms, node, member });
  }

  #wereRight(member: NodeId, verdicts: Verdicts): boolean {
    const failed = [...verdicts].filter(([, { verdict }]) => verdict === 'failed');
    const isRight = ([watcher, { incarnation }]: (typeof failed)[number]) =>
      this.#rightly.get(`${watcher}/${member}`) === incarnation;
    return failed.length > 0 && failed.every(isRight);
  }

  held(at_ms: number, node: NodeId, member: NodeId): void {
    if (this.heldWrongly.length < VERDICTS_MAX) this.heldWrongly.push({ at_ms, node, member });
  }

  /** @param at_ms when the user asked for it. */
  written({ digest, kind, key }: Written, at_ms: number, writer: NodeId): void {
    if (this.acknowledged.size >= FOLLOWED_MAX) return;
    this.acknowledged.set(digest, { at_ms, kind, key, writer, applied_count: 0, last_ms: at_ms });
  }

  /** A node has taken this record in. When one does that keeps to no rules says nothing of the others. */
  applied(at_ms: number, node: NodeId, { digest, kind, key, isTombstone }: LedgerRecord): void {
    if (this.byzantine.has(node)) return;
    if (isTombstone && kind === 'tag') this.buried.add(key);
    const followed = this.acknowledged.get(digest);
    if (followed === undefined) return;
    followed.applied_count += 1;
    followed.last_ms = at_ms;
    if (this.latencies_ms.length < SAMPLES_MAX) this.latencies_ms.push(at_ms - followed.at_ms);
  }

  banned(ban: Ban): void {
    if (this.bans.length < VERDICTS_MAX) this.bans.push(ban);
  }

  deleted(deletion: Deletion): void {
    this.buried.add(deletion.key);
    if (this.deletions.length < FOLLOWED_MAX) this.deletions.push(deletion);
  }

  equivocation(author: NodeId): void {
    this.counts.equivocations += 1;
    this.equivocators.add(author);
  }
}

export function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
