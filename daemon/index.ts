/**
 * shoal as a library: `import { createNode } from 'shoal'`. Nothing global, no signal handlers; a node ends with
 * `await using` or `[Symbol.asyncDispose]()`, and its containers go on. The same node as `shoal daemon` runs.
 */
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Backend } from './api/backend.ts';
import { type DaemonOptions, DOOR_PORT_DEFAULT, MESH_PORT_DEFAULT } from './config/options.ts';
import { silentLog } from './log.ts';
import { type NodeComponents, ShoalNode } from './node.ts';

/** All optional but `data`; what each means is told at DaemonOptions. */
export type NodeOptions = Partial<DaemonOptions> &
  Pick<DaemonOptions, 'data'> & { readonly components?: Partial<NodeComponents> };

export interface EmbeddedNode extends AsyncDisposable {
  /** The node's id: its libp2p peer id. */
  readonly id: string;
  /** All that the HTTP API can do, as methods. */
  readonly api: Backend;
  /** Path of the Unix socket on which the same is served. */
  readonly socket: string;
}

/** Starts a node. @throws ShoalError with a stable code; nothing is left then. */
export async function createNode({ components, ...given }: NodeOptions): Promise<EmbeddedNode> {
  const listen = given.listen ?? { host: '0.0.0.0', port: MESH_PORT_DEFAULT };
  const socket = given.socket ?? path.join(tmpdir(), `shoal-${process.pid}-${listen.port}.sock`);
  const options: DaemonOptions = {
    name: null,
    labels: {},
    driver: 'auto',
    host: null,
    capacity: { cpu_millis: null, memory_bytes: null },
    upstream: null,
    mdns: true,
    logLevel: 'info',
    dns: [],
    door: { host: listen.host, port: listen.port === 0 ? 0 : DOOR_PORT_DEFAULT },
    ...given,
    listen,
    socket,
  };
  const node = await ShoalNode.start(options, { log: silentLog, ...components });
  return {
    id: node.id,
    api: node.backend,
    socket,
    [Symbol.asyncDispose]: () => node[Symbol.asyncDispose](),
  };
}

export { ERRORS, type ErrorCode, ShoalError } from '../protocols/base/errors.ts';
export type { Backend } from './api/backend.ts';
export type * from './api/schemas.ts';
export type * from './api/trust-schemas.ts';
