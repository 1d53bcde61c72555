/**
 * Under mild faults no healthy node holds a healthy member as failed at any time. Under hard ones only the end is
 * judged (views-converge). Who is healthy is judged when it happens, by the stage.
 */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const noFalseVerdicts: Checker = ({ chronicle, story }) =>
  story.isMild
    ? chronicle.falseVerdicts.map(
        ({ at_ms, node, member }) =>
          `${shortId(node)} held ${shortId(member)} as failed at ${Math.round(at_ms)} ms`,
      )
    : [];
