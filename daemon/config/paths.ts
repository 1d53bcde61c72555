/** Where a daemon keeps its data and meets its clients by default. Apart from options.ts so that the CLI starts fast. */
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ShoalError } from '../../protocols/base/errors.ts';

/**
 * /var/lib/shoal as root, else below the user's data directory (XDG Base Directory specification: what is empty or
 * relative is as unset). @throws E_USAGE where nothing says where that is: temporary files may go at any time.
 */
export function defaultData(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/var/lib/shoal';
  if (env.XDG_DATA_HOME && path.isAbsolute(env.XDG_DATA_HOME)) return path.join(env.XDG_DATA_HOME, 'shoal');
  if (env.HOME) return path.join(env.HOME, '.local', 'share', 'shoal');
  throw new ShoalError('E_USAGE', 'HOME is not set: name the data directory with --data');
}

/** Where daemon and CLI meet by default. SHOAL_SOCKET overrides it in the CLI. */
export function defaultSocket(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/run/shoal/shoal.sock';
  const runtime = env.XDG_RUNTIME_DIR;
  return runtime ? path.join(runtime, 'shoal.sock') : path.join(tmpdir(), `shoal-${uid}.sock`);
}
