/**
 * How long a peer may propose protocols: @libp2p/multistream-select 7 answers for as long as something comes, without a
 * pause in which anything else could run. 64 KiB of proposals stop a daemon for a second, and it takes no key to send them.
 * Source: the multistream-select specification. Honest peers know what this one speaks: a greeting and a name are two
 * answers, and each older version that is asked for first one more.
 */
import type { MessageStream } from '@libp2p/interface';

/** Answers to one negotiation. */
export const PROPOSALS_MAX = 8;

type Negotiated = Pick<MessageStream, 'send' | 'abort'>;

/** Those on which what is to be spoken is settled. */
const settled = new WeakSet<Negotiated>();

/** Ends `stream` after too many answers, until it is settled or `isSettled` says so. */
export function capProposals(stream: Negotiated, isSettled = () => settled.has(stream)): void {
  const send = stream.send.bind(stream);
  let count = 0;
  stream.send = (data) => {
    if (!isSettled()) {
      count += 1;
      if (count > PROPOSALS_MAX) {
        const error = new Error('too many protocols were proposed');
        stream.abort(error);
        throw error;
      }
    }
    return send(data);
  };
}

/** What is sent from now on is no answer to a proposal. */
export function settle(stream: Negotiated): void {
  settled.add(stream);
}
