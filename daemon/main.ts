/** `shoal daemon`: a node in a process of its own. Signals end it; its containers go on. */
import { isShoalError } from '../protocols/base/errors.ts';
import type { DaemonOptions } from './config/options.ts';
import { lineLog } from './log.ts';
import { ShoalNode } from './node.ts';

/** Resolves when the daemon was told to stop and has. @throws what a start throws; nothing is left then. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const log = lineLog((line) => process.stderr.write(line), options.logLevel);
  process.on('unhandledRejection', (error) => {
    log(isShoalError(error) ? 'info' : 'warn', 'a task failed and nobody waited for it', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  });
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  // Everything else that keeps the process alive may go away; the daemon stays until it is told.
  const alive = setInterval(() => {}, 2 ** 30);
  try {
    await using node = await ShoalNode.start(options, { log });
    const signal = await Promise.race([stopped, node.failed]);
    log('info', 'stopping; containers go on', { signal });
  } finally {
    clearInterval(alive);
  }
}
