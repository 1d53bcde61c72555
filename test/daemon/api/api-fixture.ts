/** A real API server on a Unix socket in a directory of its own, with a fake backend; taken away after the test. */
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { ApiClient } from '../../../daemon/api/client.ts';
import { type ApiServer, createApiServer } from '../../../daemon/api/server.ts';
import type { StreamLimits } from '../../../daemon/api/stream.ts';
import { silentLog } from '../../../daemon/log.ts';
import { directoryIn } from '../../directory.ts';
import { type FakeBackend, fakeBackend } from './fake-backend.ts';

export interface ApiFixture {
  readonly directory: string;
  readonly socket: string;
  readonly server: ApiServer;
  readonly client: ApiClient;
  readonly backend: FakeBackend;
}

export function temporaryDirectory(t: Test): Promise<string> {
  return directoryIn(tmpdir(), t);
}

export async function apiFixture(t: Test, limits: Partial<StreamLimits> = {}): Promise<ApiFixture> {
  const directory = await temporaryDirectory(t);
  const socket = path.join(directory, 's.sock');
  const backend = fakeBackend();
  const server = await createApiServer({ backend, socket, log: silentLog, limits });
  t.teardown(() => server.close());
  return { directory, socket, server, client: new ApiClient(socket), backend };
}
