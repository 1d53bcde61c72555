/** What the demo shows: its steps as they go, and the closing table of what was measured. */

/** Which step failed. The cause says why. */
export class StepError extends Error {
  static override readonly name = 'StepError';
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.step = step;
  }
}

export class Report {
  readonly #write: (text: string) => void;
  readonly #steps: { readonly name: string; readonly seconds: number }[] = [];
  readonly #measures: [name: string, value: string][] = [];
  readonly #start = performance.now();

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** @throws StepError */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    this.#write(`\n== ${name}\n`);
    try {
      return await work();
    } catch (error) {
      throw error instanceof StepError ? error : new StepError(name, error);
    } finally {
      this.#steps.push({ name, seconds: (performance.now() - start) / 1000 });
    }
  }

  say(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.#write(`   ${line}\n`);
  }

  measure(name: string, value: string): void {
    this.#measures.push([name, value]);
  }

  /** The closing table. */
  table(): string {
    const total = (performance.now() - this.#start) / 1000;
    const steps = this.#steps.map(({ name, seconds }) => [name, secondsText(seconds * 1000)] as const);
    const rows = [...steps, ['all steps', secondsText(total * 1000)] as const, null, ...this.#measures];
    const width = Math.max(...rows.map((row) => row?.[0].length ?? 0));
    const right = Math.max(...rows.map((row) => row?.[1].length ?? 0));
    const rule = `+-${'-'.repeat(width)}-+-${'-'.repeat(right)}-+`;
    const lines = rows.map((row) => (row ? `| ${row[0].padEnd(width)} | ${row[1].padEnd(right)} |` : rule));
    return [rule, ...lines, rule].join('\n');
  }
}

export function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

export function megabytesText(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
