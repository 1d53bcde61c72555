/**
 * Starts the monitor: conmon, one small process per container that outlives the daemon, keeps the container's output
 * and writes down its end. Only starting it is here. Source: conmon(8).
 */
import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { ShoalError } from '../../protocols/base/errors.ts';

const CREATE_MS_MAX = 30_000;
const ANSWER_BYTES_MAX = 64 * 1024;

export interface ConmonInit {
  readonly conmon: string;
  readonly runtime: string;
  readonly id: string;
  /** Holds config.json; conmon adds its sockets. */
  readonly bundle: string;
  /** The runtime's own state. */
  readonly root: string;
  readonly pidFile: string;
  readonly conmonPidFile: string;
  /** Gets one file per container, named by its id, at its end. */
  readonly exitDir: string;
  /** Gets `oom`. */
  readonly persistDir: string;
  readonly log: string;
  /** At this size the log begins anew. */
  readonly log_bytes_max: number;
}

/** Creates the container under its monitor; resolves with its pid. @throws E_RUNTIME_FAILED with the runtime's words */
export function createUnderConmon(init: ConmonInit): Promise<number> {
  const argv = [
    ...['--cid', init.id, '--name', init.id, '--cuuid', init.id, '--runtime', init.runtime],
    ...['--bundle', init.bundle, '--container-pidfile', init.pidFile, '--conmon-pidfile', init.conmonPidFile],
    ...['--exit-dir', init.exitDir, '--persist-dir', init.persistDir, '--log-path', `k8s-file:${init.log}`],
    ...['--log-size-max', String(init.log_bytes_max), '--no-sync-log'],
    // Else its attach socket would have to fit into the 108 bytes of a socket address.
    '--full-attach',
    ...['--runtime-arg', `--root=${init.root}`],
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(init.conmon, argv, {
      detached: true,
      cwd: init.bundle,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      // It answers on this descriptor; its own exit comes before the container exists.
      env: { PATH: process.env.PATH, _OCI_SYNCPIPE: '3' },
    });
    const answers = child.stdio[3] as Duplex;
    let text = '';
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      // conmon holds its end as long as it lives.
      answers.destroy();
      act();
    };
    const fail = (message: string): void =>
      settle(() => reject(new ShoalError('E_RUNTIME_FAILED', `Cannot create ${init.id}: ${message}`)));
    const timer = setTimeout(() => fail('the monitor did not answer in time'), CREATE_MS_MAX);
    child.on('error', (error) => fail(error.message));
    answers.on('error', (error) => fail(error.message));
    answers.on('end', () => fail('the monitor ended without an answer'));
    answers.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.length > ANSWER_BYTES_MAX) return fail('the monitor says too much');
      const line = text.split('\n', 1)[0]!;
      if (line.length === text.length) return;
      const pid = parseAnswer(line);
      if (typeof pid === 'number') settle(() => resolve(pid));
      else fail(pid);
    });
  });
}

/** The pid, or the message of a failure. Older versions call the field `pid`, newer ones `data`. */
function parseAnswer(line: string): number | string {
  try {
    const answer = JSON.parse(line) as { pid?: number; data?: number; message?: string };
    const pid = answer.pid ?? answer.data ?? -1;
    return pid > 0 ? pid : (answer.message?.trim() ?? 'no reason given');
  } catch {
    return line.slice(0, 300);
  }
}
