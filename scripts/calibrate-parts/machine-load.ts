/**
 * What the machine did while something was measured: figures that come from full cores tell of the machine and not of
 * the protocol. From /proc/stat and /proc/pressure/cpu, proc(5).
 */
import { readFileSync } from 'node:fs';

interface Counters {
  /** Clock ticks of all cores. */
  readonly busy: number;
  readonly total: number;
  /** Time in which a process that could run had to wait, microseconds; NaN where the kernel does not count it. */
  readonly waited_us: number;
  readonly own_cpu_ms: number;
  readonly at_ms: number;
}

export interface Load {
  /** Of all cores, by all that runs on the machine: per cent. */
  readonly cores_percent: number;
  /** By the daemons alone. */
  readonly daemons_percent: number;
  /** Share of the time in which some process waited for a core; null where the kernel does not count it. */
  readonly waiting_percent: number | null;
}

/** From here the machine is what is measured. */
const FULL_PERCENT = 80;

export class MachineLoad {
  readonly #daemons_cpu_ms: () => number;
  readonly #cores_count: number;
  readonly #sums = new Map<
    string,
    { busy: number; total: number; waited_us: number; own: number; ms: number }
  >();

  constructor(cores_count: number, daemons_cpu_ms: () => number) {
    this.#cores_count = cores_count;
    this.#daemons_cpu_ms = daemons_cpu_ms;
  }

  /** Counts what happens during `work` under this name, with what did so before. */
  async during<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#count();
    const result = await work();
    const after = this.#count();
    const sum = this.#sums.get(name) ?? { busy: 0, total: 0, waited_us: 0, own: 0, ms: 0 };
    sum.busy += after.busy - before.busy;
    sum.total += after.total - before.total;
    sum.waited_us += after.waited_us - before.waited_us;
    sum.own += Math.max(0, after.own_cpu_ms - before.own_cpu_ms);
    sum.ms += after.at_ms - before.at_ms;
    this.#sums.set(name, sum);
    return result;
  }

  of(name: string): Load {
    const sum = this.#sums.get(name);
    if (sum === undefined) throw new RangeError(`nothing was counted as ${name}`);
    const waiting = Math.round(sum.waited_us / sum.ms / 10);
    return {
      cores_percent: Math.round((sum.busy / Math.max(1, sum.total)) * 100),
      daemons_percent: Math.round((sum.own / sum.ms / this.#cores_count) * 100),
      waiting_percent: Number.isNaN(waiting) ? null : waiting,
    };
  }

  #count(): Counters {
    const fields = /^cpu +(.+)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]!.split(' ').map(Number);
    // user nice system idle iowait irq softirq steal; guests are in user already.
    const total = fields.slice(0, 8).reduce((sum, value) => sum + value, 0);
    return {
      busy: total - fields[3]! - fields[4]!,
      total,
      waited_us: waited_us(),
      own_cpu_ms: this.#daemons_cpu_ms(),
      at_ms: performance.now(),
    };
  }
}

export function isFull({ cores_percent }: Load): boolean {
  return cores_percent >= FULL_PERCENT;
}

function waited_us(): number {
  try {
    return Number(/^some .*total=(\d+)$/m.exec(readFileSync('/proc/pressure/cpu', 'utf8'))![1]);
  } catch {
    return Number.NaN;
  }
}
