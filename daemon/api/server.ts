/**
 * The API on its Unix socket: who may connect, and what happens to the socket file. Never on TCP.
 * The file appears under its name only when its mode and group are right, and goes away with the server.
 */
import { chmod, chown, lstat, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { ShoalError } from '../../protocols/base/errors.ts';
import { makeDirectories } from '../store/make-directories.ts';
import { type ApiInit, createApiApp } from './app.ts';
import { CONNECTIONS_MAX } from './limits.ts';

/** What the kernel takes (sun_path in unix(7)), with the zero at its end. */
const SOCKET_PATH_BYTES_MAX = 107;

export interface ApiServerInit extends ApiInit {
  /** Path of the socket; its directory is made when absent. */
  readonly socket: string;
  /** Members of this group may connect, if the host has it; otherwise only the owner. Default: shoal. */
  readonly group?: string;
}

export interface ApiServer extends AsyncDisposable {
  readonly socket: string;
  /** Ends streams, closes connections, removes the socket file. Idempotent. */
  close(): Promise<void>;
}

/**
 * @throws ShoalError E_SOCKET_IN_USE when a daemon answers there or the path is no socket, E_SOCKET_DENIED.
 */
export async function createApiServer(init: ApiServerInit): Promise<ApiServer> {
  const { socket, group = 'shoal', log } = init;
  const directory = path.dirname(socket);
  const longest = Math.max(Buffer.byteLength(socket), Buffer.byteLength(`${directory}/.sXXXXXX/s`));
  if (longest > SOCKET_PATH_BYTES_MAX)
    throw new ShoalError('E_USAGE', `the socket path ${socket} is too long`);
  let nursery: string | undefined;
  const { app } = await createApiApp(init);
  try {
    for (const made of makeDirectories(directory, 0o755))
      log('info', 'made a directory for the socket', { directory: made });
    await replaceable(socket);
    // The kernel gives the file the mode that the umask leaves: only in here nobody else finds it before it has its own.
    nursery = await mkdtemp(path.join(directory, '.s'));
    const fresh = path.join(nursery, 's');
    app.server.maxConnections = CONNECTIONS_MAX;
    await app.listen({ path: fresh });
    const gid = await groupId(group);
    const shared = gid !== undefined && (await give(fresh, gid));
    await chmod(fresh, shared ? 0o660 : 0o600);
    await rename(fresh, socket);
  } catch (error) {
    await app.close();
    throw denied(error, socket);
  } finally {
    if (nursery !== undefined) await rm(nursery, { recursive: true, force: true }).catch(() => {});
  }
  const own = await lstat(socket);
  log('info', 'the API listens', { socket });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      await app.close();
      const now = await lstat(socket).catch(() => undefined);
      // Another daemon may have replaced the file meanwhile: its file is not ours to remove.
      if (now?.ino === own.ino && now.dev === own.dev) await rm(socket, { force: true });
    })();
    return closing;
  };
  return { socket, close, [Symbol.asyncDispose]: close };
}

/** Resolves when nothing is at `socket`, or the socket file of a dead daemon is. */
async function replaceable(socket: string): Promise<void> {
  const found = await lstat(socket).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket()) throw new ShoalError('E_SOCKET_IN_USE', `${socket} exists and is not a socket`);
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const probe = connect(socket);
    probe.on('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.on('error', resolve);
  });
  if (!failure) throw new ShoalError('E_SOCKET_IN_USE', `a daemon answers on ${socket} already`);
  if (failure.code !== 'ECONNREFUSED' && failure.code !== 'ENOENT') throw failure;
}

/** Node has no getgrnam; /etc/group is where a local group is. @returns undefined when there is none. */
async function groupId(group: string): Promise<number | undefined> {
  const text = await readFile('/etc/group', 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const [name, , gid] = line.split(':');
    if (name === group && gid) return Number(gid);
  }
  return undefined;
}

async function give(file: string, gid: number): Promise<boolean> {
  try {
    await chown(file, -1, gid);
    return true;
  } catch {
    // A user that is not in the group cannot hand the file to it; then it stays the owner's.
    return false;
  }
}

function denied(error: unknown, socket: string): unknown {
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT'].includes(code ?? '')) {
    return new ShoalError('E_SOCKET_DENIED', `the socket ${socket} cannot be made: ${message}`, {
      cause: error,
    });
  }
  if (code === 'EINVAL' || code === 'ENAMETOOLONG') {
    return new ShoalError('E_USAGE', `the socket path ${socket} is too long`, { cause: error });
  }
  return error;
}
