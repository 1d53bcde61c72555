/** The entry of the `shoal` command: binds the program to this process. bin/shoal starts it. */
import { runProgram } from './program.ts';

const controller = new AbortController();
// The daemon has signal handlers of its own; for the others the first signal asks and the second one ends.
if (process.argv[2] !== 'daemon') {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
}
// A reader that has enough, as `head` has, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

// Messages that nobody reads any more, or for which a disk has no room, end nothing that is under way.
process.stderr.on('error', () => {});

process.exitCode = await runProgram(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  uid: process.getuid?.() ?? -1,
  signal: controller.signal,
  exitCode: 0,
});
