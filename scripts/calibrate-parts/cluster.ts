/**
 * A cluster as calibration drives it, real or simulated: the same is done to both, and measured by the same code. Hosts
 * are numbered from 1. Times are milliseconds of the cluster's own clock.
 */
import type { MemberStatus } from '../../protocols/view/view.ts';

/** After each record, and after the last: what waits to be sent with something else belongs to the records as well. */
export const WRITE_PAUSE_MS = 300;
export const WRITES_SETTLE_MS = 2_000;

export interface CalibratedCluster extends AsyncDisposable {
  readonly nodes_count: number;
  now_ms(): number;
  /** Lets so much of the cluster's time pass. */
  pass(ms: number): Promise<void>;
  /** By each host since it is there, with what carries it. */
  received_bytes(): number[];
  /**
   * One record by each of these hosts, one after another.
   * @returns for each record, from its stamp until the last host of all had taken it in.
   */
  write(writers: readonly number[]): Promise<number[]>;
  /** kill -9 of the daemon; the host stays. */
  kill(host: number): void;
  /** Starts a daemon that was killed, until all hold all alive again. */
  restart(host: number): Promise<void>;
  /** Takes the host's link down. */
  isolate(host: number): void;
  /** Ends it. */
  rejoin(host: number): void;
  /** Waits until all observers hold all subjects so, themselves aside. @returns when the last of them did. */
  held(
    observers: readonly number[],
    subjects: readonly number[],
    status: Extract<MemberStatus, 'alive' | 'failed'>,
  ): Promise<number>;
}
