/** Where a daemon keeps its data and meets its clients by default. Apart from options.ts so that the CLI starts fast. */
import { tmpdir } from 'node:os';
import path from 'node:path';

/** /var/lib/shoal as root, else below the user's data directory (XDG Base Directory specification). */
export function defaultData(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/var/lib/shoal';
  const base = env.XDG_DATA_HOME ?? (env.HOME ? path.join(env.HOME, '.local', 'share') : undefined);
  return base ? path.join(base, 'shoal') : path.join(tmpdir(), `shoal-${uid}`);
}

/** Where daemon and CLI meet by default. SHOAL_SOCKET overrides it in the CLI. */
export function defaultSocket(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/run/shoal/shoal.sock';
  const runtime = env.XDG_RUNTIME_DIR;
  return runtime ? path.join(runtime, 'shoal.sock') : path.join(tmpdir(), `shoal-${uid}.sock`);
}
