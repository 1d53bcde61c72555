/** Shows progress on stderr: redrawn in place on a terminal, otherwise a line for each thing that has changed. */
import type { WatchEvent } from '../api/schemas.ts';
import { progressFacts, progressLines } from './progress.ts';
import type { Terminal } from './terminal.ts';

export interface ProgressDisplay {
  show(event: WatchEvent): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

function redrawn(stream: NodeJS.WriteStream): ProgressDisplay {
  let drawn = 0;
  return {
    show(event) {
      const lines = progressLines(event, stream.columns ?? 80).slice(0, Math.max(3, (stream.rows ?? 24) - 1));
      const up = drawn > 0 ? `\x1b[${drawn}A` : '';
      stream.write(`${up}\r${lines.map((line) => `\x1b[K${line}\n`).join('')}\x1b[J`);
      drawn = lines.length;
    },
    end() {
      drawn = 0;
    },
  };
}

function logged(stream: NodeJS.WriteStream): ProgressDisplay {
  // Layers have one key for each phase and quarter, so what has been said stays said.
  const said = new Map<string, string>();
  return {
    show(event) {
      for (const [key, text] of progressFacts(event)) {
        const before = said.get(key);
        if (before === text || (before !== undefined && key.startsWith('layer '))) continue;
        said.set(key, text);
        stream.write(`${text}\n`);
      }
    },
    end() {},
  };
}

export function progressDisplay(terminal: Terminal): ProgressDisplay {
  const dumb = terminal.env.TERM === 'dumb' || Boolean(terminal.env.CI);
  return terminal.stderr.isTTY && !dumb ? redrawn(terminal.stderr) : logged(terminal.stderr);
}
