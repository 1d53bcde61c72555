/**
 * On which side of a broken cluster this node is. In a large one it keeps links with few, and when most of those are lost
 * it cannot tell whether it is they or itself. So it dials strangers, those with whom it keeps none, by lot, and the more
 * of them the fewer answer. Where hardly any do it is this node that reaches few.
 * Not here: what follows from that for those who do not answer (beats.ts asks for them, votes.ts gives them up).
 */
import type { NodeId } from '../base/ids.ts';
import { sample } from '../base/sample.ts';
import { isAlone, isLarge } from './duties.ts';
import type { CutOff, Member, MembershipState, Turn } from './state.ts';

/** One that answers weighs as much as so many that do not: where a third is left its watchers agree on all who are lost. */
const ANSWER_WEIGHT = 2;
/** By so much either outweighs the other before anything follows: one side's luck in some lots is no proof. */
const SURPLUS_MIN = 6;
/** Where they answer one more is dialled once in so many rounds: perhaps it was half of the cluster that was lost. */
const STRANGER_ROUNDS = 4;

/** Once a round. @returns whom to dial. */
export function drawStrangers(turn: Turn): NodeId[] {
  const { state, now, random } = turn;
  const { cutOff, connected, roster, self, wanted, targets, failed } = state;
  if (cutOff === null || !isLarge(state)) return [];
  if (isAlone(state)) noteAlone(cutOff);
  weigh(turn, cutOff);
  if (cutOff.surplus <= 0 && random() >= 1 / STRANGER_ROUNDS) return [];
  // Who was gone before says nothing of what has happened since.
  const gone_ms = Math.min(cutOff.since_ms, now) - state.config.isolationWindow_ms;
  const strangers: NodeId[] = [];
  for (const [id] of roster.entries()) {
    if (id === self || connected.has(id) || wanted.has(id) || targets.has(id)) continue;
    const { answer = 'came' } = cutOff.strangers.get(id) ?? {};
    if (answer === 'came' && (failed.get(id) ?? now) >= gone_ms) strangers.push(id);
  }
  return sample(strangers, Math.max(1, cutOff.surplus), random);
}

/** Only who was dialled indeed says something by its silence: there may have been no place for it. */
export function noteDialled({ state: { cutOff }, now }: Turn, id: NodeId): void {
  cutOff?.strangers.set(id, { dialled_ms: now, answer: 'none' });
}

/** By the last answer of each. Who has lost all needs no lots, and those of a few who answer first do not outweigh that. */
function weigh({ state, now }: Turn, cutOff: CutOff): void {
  let surplus = cutOff.wasAlone ? SURPLUS_MIN : 1;
  for (const [id, stranger] of cutOff.strangers) {
    // Never in the future, whatever the clock was set to.
    stranger.dialled_ms = Math.min(stranger.dialled_ms, now);
    const isOver = now - stranger.dialled_ms >= state.config.meet_ms;
    if (isOver && stranger.answer === 'none' && !state.connected.has(id)) stranger.answer = 'missing';
    if (stranger.answer === 'came') surplus -= ANSWER_WEIGHT;
    else if (stranger.answer === 'missing') surplus += 1;
  }
  cutOff.surplus = surplus;
  if (surplus >= SURPLUS_MIN) cutOff.reachesFew = true;
  if (isBack(cutOff)) state.isolationDirty = true;
}

export function noteAlone(cutOff: CutOff): void {
  cutOff.wasAlone = true;
  cutOff.reachesFew = true;
}

/** It was heard. If that was through another, or once its connection is closed, it is dialled anew. */
export function noteHeard({ cutOff }: MembershipState, { id, isConnected }: Member): void {
  const stranger = cutOff?.strangers.get(id);
  if (stranger === undefined) return;
  if (isConnected) stranger.answer = 'came';
  else cutOff?.strangers.delete(id);
}

/** It reached few, and strangers answer: no matter which of its links are back. */
export function isBack({ reachesFew, surplus }: CutOff): boolean {
  return reachesFew && surplus <= -SURPLUS_MIN;
}
