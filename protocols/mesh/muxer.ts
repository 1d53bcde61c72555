/**
 * yamux as the mesh uses it, with one defect of @chainsafe/libp2p-yamux 8.0.1 kept from killing the process: a new
 * stream announces itself from a microtask, and when the connection closes before that runs, the write throws where
 * nobody can catch it. Writes to a connection that is closed are dropped here; its streams learn of the close anyway.
 */
import { type YamuxMuxerInit, yamux } from '@chainsafe/libp2p-yamux';
import type { StreamMuxerFactory } from '@libp2p/interface';

export function meshMuxer(init: YamuxMuxerInit): () => StreamMuxerFactory {
  const create = yamux(init);
  return () => {
    const factory = create();
    return {
      protocol: factory.protocol,
      createStreamMuxer: (connection) => {
        const send = connection.send.bind(connection);
        connection.send = (data) => {
          try {
            return send(data);
          } catch (error) {
            if (connection.status === 'open') throw error;
            return false;
          }
        };
        return factory.createStreamMuxer(connection);
      },
    };
  };
}
