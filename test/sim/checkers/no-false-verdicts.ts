/**
 * Under mild faults no healthy node comes to hold a healthy member as failed at any time, and none goes on to hold one
 * so that was failed for good reason. Under hard ones only the end is judged (views-converge). Who is healthy is judged
 * when it happens, by the stage.
 */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const noFalseVerdicts: Checker = ({ chronicle, story }) => {
  if (!story.isMild) return [];
  const told =
    (how: string) => (each: { readonly at_ms: number; readonly node: string; readonly member: string }) =>
      `${shortId(each.node)} ${how} ${shortId(each.member)} as failed at ${Math.round(each.at_ms)} ms`;
  return [...chronicle.falseVerdicts.map(told('held')), ...chronicle.heldWrongly.map(told('still held'))];
};
