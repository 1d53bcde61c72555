/** What the drivers do alike with what an earlier daemon left. */
import type { Log } from '../log.ts';
import { isContainerId } from './container-id.ts';
import type { ContainerId } from './runtime.ts';

/**
 * Takes up each container among these names of files. One that cannot be taken up is left alone: it may well run, and
 * taking it away, or making another in its place, would end or break it.
 * @param left where those are kept.
 */
export async function takeUpEach(
  names: readonly string[],
  takeUp: (id: ContainerId) => void | Promise<void>,
  left: Set<ContainerId>,
  log: Log,
): Promise<void> {
  for (const id of names) {
    if (!isContainerId(id)) continue;
    try {
      await takeUp(id);
    } catch (error) {
      left.add(id);
      log('warn', 'leaving a container alone that cannot be taken up', {
        id,
        error: (error as Error).message,
      });
    }
  }
}
