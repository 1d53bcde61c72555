/** What every benchmark is: a name, what it measures, and a run that yields a line as soon as it has one. */
import type { Line } from './result.ts';

export interface BenchOptions {
  /** How often ours and each peer take their turn. */
  readonly rounds: number;
  /** How long `idle` looks at what rests. */
  readonly rest_ms: number;
  /** Aborted when the user has had enough: what was made is to be taken away. */
  readonly signal: AbortSignal;
  /** For people: what is being done now. */
  readonly say: (text: string) => void;
}

export interface Bench {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Why it cannot run here, and what to do; null when it can. */
  whyNot(): Promise<string | null>;
  run(options: BenchOptions): AsyncIterable<Line>;
}
