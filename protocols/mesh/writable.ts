/**
 * Waiting until a libp2p stream has taken all that it was given. `stream.onDrain()` cannot be used for it: in
 * @libp2p/utils 7.4.1 it keeps its first promise for ever, so a loop on it queues without limit.
 */
import type { Stream } from '@libp2p/interface';

/** Calls `done` once, never synchronously: with nothing when all is written, or with why it never will be. */
export function onceWritten(stream: Stream, done: (error?: Error) => void): void {
  let finished = false;
  const finish = (error?: Error): void => {
    if (finished) return;
    finished = true;
    stream.removeEventListener('drain', later);
    stream.removeEventListener('idle', later);
    stream.removeEventListener('close', later);
    done(error);
  };
  const check = (): void => {
    if (stream.writeStatus === 'closed') finish(new Error('the stream is closed'));
    else if (stream.writeBufferLength === 0 && !stream.writableNeedsDrain) finish();
  };
  // The stream writes on from a microtask that it queues before this one.
  const later = (): void => queueMicrotask(check);
  stream.addEventListener('drain', later);
  stream.addEventListener('idle', later);
  stream.addEventListener('close', later);
  later();
}
