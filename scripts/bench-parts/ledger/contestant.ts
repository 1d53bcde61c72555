/** One contestant of the `ledger` benchmark, seen from outside: a child process that runs a round when asked. */
import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import type { Grouping } from './replica.ts';
import type { ContestantName, Told } from './replica-process.ts';

const PROGRAM = path.join(import.meta.dirname, 'replica-process.ts');
/** Writing the messages and one round, or a later round. Past it something is wrong and not slow. */
const ANSWER_MS_MAX = 300_000;

export class Contestant implements Disposable {
  readonly name: ContestantName;
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal;

  private constructor(name: ContestantName, grouping: Grouping, signal: AbortSignal) {
    this.name = name;
    this.#signal = signal;
    this.#child = fork(PROGRAM, [name, grouping], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  }

  /** Resolves when it is ready for its first round. */
  static async start(name: ContestantName, grouping: Grouping, signal: AbortSignal): Promise<Contestant> {
    const contestant = new Contestant(name, grouping, signal);
    try {
      await contestant.#answer();
      return contestant;
    } catch (error) {
      contestant[Symbol.dispose]();
      throw error;
    }
  }

  /** @returns updates a second. */
  async round(): Promise<number> {
    const answer = this.#answer();
    this.#child.send('round');
    const told = await answer;
    if (!('updates_per_s' in told)) throw new Error(`${this.name} said that it is ready twice`);
    return told.updates_per_s;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }

  #answer(): Promise<Told> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
      const settle = (act: () => void) => () => {
        signal.removeEventListener('abort', aborted);
        this.#child.off('message', answered);
        this.#child.off('exit', ended);
        act();
      };
      const answered = (told: Told) => settle(() => resolve(told))();
      const ended = (code: number | null) =>
        settle(() => reject(new Error(`${this.name} ended with ${code}; what it said is above`)))();
      const aborted = settle(() => reject(new Error(`${this.name} was given up`, { cause: signal.reason })));
      this.#child.on('message', answered);
      this.#child.on('exit', ended);
      signal.addEventListener('abort', aborted);
    });
  }
}
