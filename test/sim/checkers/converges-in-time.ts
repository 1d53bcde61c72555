/** After the last fault all views are whole and all ledgers equal within the bound that the scenario states. */
import type { Checker } from './checker.ts';

export const convergesInTime: Checker = ({ converged_ms, story }) =>
  converged_ms !== null && converged_ms <= story.converged_ms_max
    ? []
    : [`after ${story.converged_ms_max} ms without a fault the nodes did not agree`];
